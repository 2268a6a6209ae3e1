"""Prometheus gates against a real Prometheus, which is built from its Go module at the first run."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelendpoint_operator.adapters.checks import CheckRunner
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import PrometheusGate
from modelendpoint_operator.api.spec import Model, ModelEndpointSpec
from modelendpoint_operator.observation import Check, Measurement
from modelendpoint_operator.settings import Settings
from support.emulators import find_go_tool, free_port, running

pytestmark = pytest.mark.emulator

SPEC = ModelEndpointSpec(model=Model(uri="configmap://models/1.onnx"))
CHURN = ModelEndpoint(name="churn", namespace="shop", uid="1", generation=1, spec=SPEC)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Prometheus below a path, which measures itself under two names."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    targets = f"[{{targets: [127.0.0.1:{port}]}}]"
    jobs = "".join(
        f"  - {{job_name: {name}, metrics_path: /prom/metrics, static_configs: {targets}}}\n" for name in ("a", "b")
    )
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 100ms}}\nscrape_configs:\n{jobs}")
    command = [
        str(find_go_tool("prometheus")),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.route-prefix=/prom",
    ]
    with running(command, port, log=folder / "log"):
        yield f"http://127.0.0.1:{port}/prom"


def ask(address: str, query: str) -> Measurement:
    runner = CheckRunner(Settings(prometheus_address=address))
    check = Check(
        name="prometheus/q",
        gate=PrometheusGate(name="q", query=query, min=0),
        candidate=8,
        stable=None,
        period=datetime.now(UTC),
    )
    while not (found := runner.measure(CHURN, [check], pods={})):
        pass
    return found[check.name]


def until_answered(address: str, query: str) -> Measurement:
    """Ask until Prometheus is ready and has measured itself; its own timeout bounds this."""
    while (found := ask(address, query)).value is None:
        assert "503" in found.message or "no result" in found.message or "reached" in found.message, found
    return found


@pytest.mark.timeout(1900)
def test_what_is_asked_is_answered_as_the_gate_understands_it(address: str) -> None:
    assert until_answered(address, 'sum(up{job=~"a|b"}) == 2') == Measurement(value=2)
    assert ask(address, "$(CANDIDATE) + $(STABLE)") == Measurement(value=8)
    assert ask(address, "vector(0.25)") == Measurement(value=0.25)
    assert ask(address, "1 / 0") == Measurement(value=float("inf"))
    assert ask(address, 'count(up{job="a", namespace="$(NAMESPACE)"}) or vector(7)') == Measurement(value=7)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("0 / 0", "the result is NaN, as 0/0 is: there is nothing to measure yet"),
        ("no_such_metric", "the query has no result; is there such a metric, with data for these labels?"),
        ("up", "the query gives 2 series; put sum(), max() or the like around it"),
        ("up[1m]", "the result is a matrix; the query must give one number"),
        ('"text"', "the result is a string; the query must give one number"),
        (
            "sum(",
            'Prometheus refused the query: invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
        ),
        ("rate(up)", 'expected type range vector in call to function "rate", got instant vector'),
    ],
)
def test_what_is_no_number_is_told_in_words(address: str, query: str, message: str) -> None:
    until_answered(address, "sum(up) == 2")

    found = ask(address, query)

    assert found.value is None
    assert message in found.message


def test_an_address_without_prometheus_is_told(address: str) -> None:
    found = ask(address.removesuffix("/prom"), "up")

    assert found == Measurement(message="the answer with status 404 is not one of Prometheus")

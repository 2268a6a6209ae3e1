"""Measuring for gates: what is asked, what an answer is reduced to, and how little a slow host can hold up."""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.adapters.checks import (
    AT_ONCE_IN_A_NAMESPACE,
    MESSAGE_LENGTH,
    Address,
    CheckRunner,
    read_check_result,
    read_query_result,
)
from modelendpoint_operator.adapters.exchange import Answer
from modelendpoint_operator.adapters.targets import Resolved
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import HttpGate, PrometheusGate
from modelendpoint_operator.api.spec import Model, ModelEndpointSpec
from modelendpoint_operator.observation import Check, Measurement
from modelendpoint_operator.settings import Settings
from support.raw_web import RawWeb, Say, answer, raw_web

LOOPBACK = Settings(gate_allowed_hosts=("127.0.0.1",))
SPEC = ModelEndpointSpec(model=Model(uri="configmap://models/1.onnx"))
CHURN = ModelEndpoint(name="churn", namespace="shop", uid="1", generation=1, spec=SPEC)


PERIOD = datetime(2026, 11, 25, tzinfo=UTC)


def a_check(gate: HttpGate | PrometheusGate, *, candidate: int = 8, stable: int | None = 7) -> Check:
    kind = "http" if isinstance(gate, HttpGate) else "prometheus"
    return Check(name=f"{kind}/{gate.name}", gate=gate, candidate=candidate, stable=stable, period=PERIOD)


def a_query(query: str = "up", **fields: Any) -> Check:
    return a_check(PrometheusGate(name="q", query=query, min=0, **fields))


def measure(runner: CheckRunner, check: Check, *, pods: Mapping[int, Address] | None = None) -> Measurement:
    """Pass after pass until the answer is there."""
    deadline = time.monotonic() + 10
    while not (found := runner.measure(CHURN, [check], pods=pods or {})):
        assert time.monotonic() < deadline
    return found[check.name]


def form_of(web: RawWeb) -> dict[str, list[str]]:
    return parse_qs(web.seen[0].partition("\r\n\r\n")[2])


def a_result(*values: str, kind: str = "vector") -> str:
    series = [{"metric": {"n": str(n)}, "value": [1764000000.5, value]} for n, value in enumerate(values)]
    result: object = [1764000000.5, *values] if kind in ("scalar", "string") else series
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def prometheus_answer(body: str, *, status: int = 200) -> Answer:
    return Answer(status=status, content_type="application/json", body=body.encode())


# What is asked.


def test_a_query_is_posted_with_its_placeholders_filled_in() -> None:
    text = (
        'sum(rate(errors{namespace="$(NAMESPACE)", revision="$(ENDPOINT)-r$(CANDIDATE)"}[1m])) / $(STABLE) + $(OTHER)'
    )
    with raw_web(answer(a_result("0.25"))) as web:
        runner = CheckRunner(Settings(prometheus_address=f"{web.url}/prom/"))
        assert measure(runner, a_query(text)) == Measurement(value=0.25)

    assert web.seen[0].startswith("POST /prom/api/v1/query HTTP/1.1\r\n")
    assert form_of(web)["query"] == ['sum(rate(errors{namespace="shop", revision="churn-r8"}[1m])) / 7 + $(OTHER)']


def test_the_query_string_of_an_address_stays() -> None:
    with raw_web(answer(a_result("1"))) as web:
        runner = CheckRunner(Settings(prometheus_address=f"{web.url}?tenant=$(NAMESPACE)"))
        measure(runner, a_query())

    assert web.seen[0].startswith("POST /api/v1/query?tenant=shop HTTP/1.1\r\n")


def test_a_gate_may_name_a_prometheus_of_its_own_where_it_may_ask() -> None:
    with raw_web(answer(a_result("2"))) as web:
        assert measure(CheckRunner(LOOPBACK), a_query(address=web.url)).value == 2
        refused = measure(CheckRunner(Settings(prometheus_address="http://127.0.0.1:1")), a_query(address=web.url))
    assert refused.value is None
    assert "neither in namespace shop nor allowed by this installation" in refused.message


def test_the_prometheus_of_the_installation_is_no_host_for_other_checks() -> None:
    with raw_web(answer()) as web:
        runner = CheckRunner(Settings(prometheus_address=web.url))
        refused = measure(runner, a_check(HttpGate(name="h", url=f"{web.url}/-/quit", body="")))
    assert "neither in namespace shop nor allowed" in refused.message
    assert web.seen == []


def test_without_any_prometheus_the_gate_says_what_to_do() -> None:
    assert "prometheus.address in the values of the chart" in measure(CheckRunner(Settings()), a_query()).message


def test_a_path_is_asked_at_the_candidates_pod() -> None:
    with raw_web(answer('{"error": "Input x is missing", "code": "InvalidInput"}', status="400 Bad Request")) as web:
        runner = CheckRunner(Settings())
        check = a_check(HttpGate(name="h", path="/v1/models/$(ENDPOINT):predict", body='{"revision": $(CANDIDATE)}'))
        found = measure(runner, check, pods={7: ("127.0.0.9", web.port), 8: ("127.0.0.1", web.port)})

    assert found == Measurement(value=400, message="Input x is missing")
    assert web.seen[0].startswith("POST /v1/models/churn:predict HTTP/1.1\r\n")
    assert web.seen[0].endswith('{"revision": 8}')


def test_a_path_waits_for_a_ready_pod() -> None:
    runner = CheckRunner(Settings())

    assert runner.measure(CHURN, [a_check(HttpGate(name="h", path="/"))], pods={7: ("127.0.0.1", 8080)}) == {}


def test_a_url_is_asked_with_its_placeholders_filled_in() -> None:
    with raw_web(answer('{"message": "AUC 0.91"}')) as web:
        gate = HttpGate(name="h", url=f"{web.url}/$(NAMESPACE)/$(ENDPOINT)?new=$(CANDIDATE)&old=$(STABLE)")
        found = measure(CheckRunner(LOOPBACK), a_check(gate, stable=None))

    assert found == Measurement(value=200, message="AUC 0.91")
    assert web.seen[0].startswith("GET /shop/churn?new=8&old=0 HTTP/1.1\r\n")


def test_names_are_resolved_once_and_the_address_that_was_looked_at_is_asked() -> None:
    """A host that answers with another address the second time gains nothing."""
    asked = []

    def resolve(name: str) -> Resolved:
        asked.append(name)
        return Resolved(canonical=name, addresses=("127.0.0.1" if len(asked) == 1 else "127.0.0.9",))

    with raw_web(answer()) as web:
        runner = CheckRunner(LOOPBACK, resolve=resolve)
        assert measure(runner, a_check(HttpGate(name="h", url=f"http://judge:{web.port}/"))).value == 200
        assert f"Host: judge:{web.port}\r\n" in web.seen[0]
    assert asked == ["judge.shop.svc.cluster.local."]


# What an answer is reduced to.


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (a_result("0.25"), 0.25),
        (a_result("-1e3"), -1000),
        (a_result("+Inf"), float("inf")),
        (a_result("3", kind="scalar"), 3),
    ],
)
def test_one_number_is_a_value(body: str, value: float) -> None:
    assert read_query_result(prometheus_answer(body)) == Measurement(value=value)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (a_result("NaN"), 200, "the result is NaN, as 0/0 is: there is nothing to measure yet"),
        (a_result(), 200, "the query has no result; is there such a metric, with data for these labels?"),
        (a_result("1", "2", "3"), 200, "the query gives 3 series; put sum(), max() or the like around it"),
        (a_result(kind="matrix"), 200, "the result is a matrix; the query must give one number"),
        (a_result("text", kind="string"), 200, "the result is a string; the query must give one number"),
        (
            '{"status": "error", "errorType": "bad_data", "error": "1:4: parse error:\\nunexpected \\u001b[31m"}',
            400,
            "Prometheus refused the query: 1:4: parse error: unexpected [31m",
        ),
        ("", 302, "Prometheus answered 302; redirects are not followed"),
        ("<html>Not found</html>", 404, "the answer with status 404 is not one of Prometheus"),
        ('{"status": "success"}', 200, "the result is empty"),
        (a_result("many"), 200, "the answer with status 200 is not one of Prometheus"),
        ("[]", 200, "the answer with status 200 is not one of Prometheus"),
        (a_result("1").replace('"value"', '"histogram"'), 200, "the answer with status 200 is not one of Prometheus"),
        ('{"status": "success", "data": {"resultType": "scalar", "result": []}}', 200, "the result is empty"),
    ],
)
def test_anything_else_is_no_value_and_says_why(body: str, status: int, message: str) -> None:
    assert read_query_result(prometheus_answer(body, status=status)) == Measurement(message=message)


@pytest.mark.parametrize(
    ("status", "kind", "body", "measurement"),
    [
        (200, "application/json", '{"message": "fine"}', Measurement(value=200, message="fine")),
        (500, "application/json", '{"error": "broke", "token": "s3cret"}', Measurement(value=500, message="broke")),
        (200, "text/plain", "s3cret", Measurement(value=200)),
        (200, "application/json", '"s3cret"', Measurement(value=200)),
        (200, "application/json", '{"message": {"token": "s3cret"}}', Measurement(value=200)),
        (200, "application/json", "{", Measurement(value=200)),
        (204, "", "", Measurement(value=204)),
        (301, "application/json", '{"message": "x"}', Measurement(value=301, message="redirects are not followed")),
    ],
)
def test_a_check_is_its_status_and_what_is_meant_for_people(
    status: int, kind: str, body: str, measurement: Measurement
) -> None:
    assert read_check_result(Answer(status=status, content_type=kind, body=body.encode())) == measurement


@settings(max_examples=100)
@given(st.text(max_size=500))
def test_a_foreign_text_is_one_short_line_of_characters_that_can_be_seen(text: str) -> None:
    body = json.dumps({"message": text}).encode()
    message = read_check_result(Answer(status=200, content_type="application/json", body=body)).message

    assert len(message) <= MESSAGE_LENGTH
    assert message.isprintable()


@settings(max_examples=100)
@given(
    st.binary(max_size=100)
    | st.from_regex(r'\{"status": ?"success", ?"data": ?\{.*\}\}', fullmatch=True).map(str.encode)
)
def test_no_answer_breaks_the_reading(body: bytes) -> None:
    for status in (200, 400):
        assert read_query_result(Answer(status=status, content_type="", body=body)).value is None
        assert read_check_result(Answer(status=status, content_type="application/json", body=body)).value == status


# How little a slow host can hold up.


class Gate:
    """Makes a host wait until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, then: Say) -> Say:
        def say(connection: socket.socket) -> None:
            self.waiting.release()
            self._open.wait(10)
            then(connection)

        return say

    def open(self) -> None:
        self._open.set()


def until(fact: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (found := fact()):
        assert time.monotonic() < deadline
    return found


def test_a_pass_does_not_wait_for_a_slow_host_and_a_later_one_gets_its_answer() -> None:
    gate = Gate()
    with raw_web(gate(answer('{"message": "late"}'))) as web:
        runner = CheckRunner(LOOPBACK)
        check = a_check(HttpGate(name="h", url=web.url))
        started = time.monotonic()
        assert runner.measure(CHURN, [check], pods={}) == {}
        assert time.monotonic() - started < 2
        gate.open()
        assert measure(runner, check) == Measurement(value=200, message="late")
        assert len(web.seen) == 1


def test_an_answer_is_given_once() -> None:
    with raw_web(answer()) as web:
        runner = CheckRunner(LOOPBACK)
        check = a_check(HttpGate(name="h", url=web.url))
        measure(runner, check)
        measure(runner, check)
        assert len(web.seen) == 2


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    """An answer from an earlier step must not speak for a later one."""
    gate = Gate()
    with raw_web(gate(answer('{"message": "of the step before"}'))) as web:
        runner = CheckRunner(LOOPBACK)
        check = a_check(HttpGate(name="h", url=web.url))
        runner.measure(CHURN, [check], pods={})
        assert runner.measure(CHURN, [], pods={}) == {}
        gate.open()
        measure(runner, check)
        assert len(web.seen) == 2


def test_an_answer_to_an_earlier_step_does_not_count_in_the_next() -> None:
    """Also when the question was still under way as the step ended, and is asked again at once."""
    gate, texts = Gate(), iter(["of the step before", "of this step"])

    def say(connection: socket.socket) -> None:
        gate(answer(json.dumps({"message": next(texts)})))(connection)

    with raw_web(say) as web:
        runner = CheckRunner(LOOPBACK)
        before = a_check(HttpGate(name="h", url=web.url))
        assert runner.measure(CHURN, [before], pods={}) == {}
        assert gate.waiting.acquire(timeout=10)
        gate.open()
        assert measure(runner, replace(before, period=PERIOD + timedelta(seconds=60))).message == "of this step"
        assert len(web.seen) == 2


def test_endpoints_get_their_own_answers() -> None:
    with raw_web(answer()) as web:
        runner = CheckRunner(LOOPBACK)
        other = ModelEndpoint(name="fraud", namespace="shop", uid="2", generation=1, spec=SPEC)
        check = a_check(HttpGate(name="h", url=f"{web.url}/$(ENDPOINT)"))
        until(lambda: runner.measure(CHURN, [check], pods={}))
        until(lambda: runner.measure(other, [check], pods={}))
    assert [text.split()[1] for text in web.seen] == ["/churn", "/fraud"]


def test_a_namespace_with_many_slow_hosts_does_not_keep_others_from_being_asked() -> None:
    gate = Gate()
    with raw_web(gate(answer())) as slow, raw_web(answer()) as quick:
        runner = CheckRunner(LOOPBACK)
        checks = [a_check(HttpGate(name=f"slow-{n}", url=slow.url)) for n in range(AT_ONCE_IN_A_NAMESPACE + 3)]
        assert runner.measure(CHURN, checks, pods={}) == {}
        for _ in range(AT_ONCE_IN_A_NAMESPACE):
            assert gate.waiting.acquire(timeout=10)
        assert not gate.waiting.acquire(blocking=False)

        elsewhere = ModelEndpoint(name="churn", namespace="bank", uid="2", generation=1, spec=SPEC)
        check = a_check(HttpGate(name="h", url=quick.url))
        assert until(lambda: runner.measure(elsewhere, [check], pods={}))["http/h"].value == 200

        gate.open()
        answered: set[str] = set()

        def all_are_there() -> bool:
            missing = [check for check in checks if check.name not in answered]
            answered.update(runner.measure(CHURN, missing, pods={}))
            return len(answered) == len(checks)

        until(all_are_there)


def test_a_bug_is_told_and_does_not_end_the_pass() -> None:
    def resolve(name: str) -> Resolved:
        raise ZeroDivisionError(name)

    found = measure(CheckRunner(LOOPBACK, resolve=resolve), a_check(HttpGate(name="h", url="http://judge/")))

    assert found == Measurement(message="it could not be measured (ZeroDivisionError); the log tells more")

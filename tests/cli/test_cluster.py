"""``mep`` and ``kubectl mep`` on endpoints in a cluster, over real HTTP to a small API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from modelendpoint.__main__ import main
from support.api_server import FakeApiServer, running

ENDPOINTS = "/apis/modelendpoint.dev/v1alpha1/namespaces/team-a/modelendpoints"
BATCHES = "/apis/modelendpoint.dev/v1alpha1/namespaces/team-a/batchpredictions"
EVENTS = "/apis/events.k8s.io/v1/namespaces/team-a/events"
PODS = "/api/v1/namespaces/team-a/pods"
PREDICT = "/api/v1/namespaces/team-a/services/http:churn:80/proxy/predict"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiServer]:
    """An API server with an endpoint in mid-rollout, and a kubeconfig whose context has its namespace."""
    fake = FakeApiServer()
    fake.put(
        f"{ENDPOINTS}/churn",
        metadata={"namespace": "team-a"},
        status={
            "url": "http://churn.team-a.svc",
            "stable": {"revision": 1, "version": "1", "weight": 90},
            "candidate": {"revision": 2, "weight": 10},
            "conditions": [{"type": "Ready", "status": "False", "reason": "Paused", "message": "waits for a person"}],
        },
    )
    with running(fake) as client:
        write_kubeconfig(tmp_path / "kubeconfig", client._client.configuration.host)
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
        monkeypatch.chdir(tmp_path)
        yield fake


def write_kubeconfig(path: Path, host: str) -> None:
    context = {"cluster": "one", "user": "me", "namespace": "team-a"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "one", "cluster": {"server": host}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "here", "context": context}],
    }
    path.write_text(yaml.safe_dump(content))


def put_batch(server: FakeApiServer, **status: object) -> None:
    ready = {"type": "Ready", "status": "False", "reason": "MissingColumn", "message": "there is no column f9"}
    server.put(
        f"{BATCHES}/weekly",
        metadata={"namespace": "team-a", "creationTimestamp": "2026-01-01T00:00:00Z"},
        status={"conditions": [ready], "phase": "Failed", "attempt": 1, **status},
    )


def run(*arguments: str) -> int:
    return main(list(arguments), {}, name="kubectl mep")


def test_kubectl_users_see_the_endpoints_of_their_namespace(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("get") == 0
    heading, row, message = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "READY", "REVISION", "CANDIDATE", "WEIGHT", "STATUS", "URL"]
    assert row.split() == ["churn", "False", "1", "(1)", "2", "10", "Paused", "http://churn.team-a.svc"]
    assert message == "churn: waits for a person"


def test_batch_predictions_are_shown_below(server: FakeApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    put_batch(server, progress={"text": "0/9"})
    assert run("get") == 0
    *_, heading, row, message = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["NAME", "STATUS", "PROGRESS"]
    assert row.split()[:3] == ["weekly", "MissingColumn", "0/9"]
    assert message == "weekly: there is no column f9"
    assert run("get", "weekly", "-o", "yaml") == 0
    assert yaml.safe_load(capsys.readouterr().out)["kind"] == "BatchPrediction"
    assert run("get", "nobody") == 1
    assert "There is no endpoint or batch prediction nobody here; there is churn, weekly." in capsys.readouterr().err


def test_a_failed_batch_prediction_is_tried_again_and_nothing_else_is_ordered_of_it(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    put_batch(server, handledAnnotations={"modelendpoint.dev/retry": "1"})
    assert run("retry", "weekly") == 0
    assert server.objects[f"{BATCHES}/weekly"]["metadata"]["annotations"] == {"modelendpoint.dev/retry": "1"}
    assert capsys.readouterr().out == "weekly: retry of attempt 1\n"
    assert run("promote", "weekly") == 1
    assert "There is no endpoint weekly here" in capsys.readouterr().err


def test_who_names_a_namespace_means_a_cluster(server: FakeApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "-n", "team-a", "churn", "-o", "yaml"], {}) == 0
    assert yaml.safe_load(capsys.readouterr().out)["status"]["stable"]["revision"] == 1
    assert main(["get", "-n", "team-b"], {}) == 0
    assert "churn" not in capsys.readouterr().out


def test_an_order_is_an_annotation_and_its_answer_is_told(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"modelendpoint.dev/promote": "2"}
    server.objects[f"{ENDPOINTS}/churn"]["status"]["handledAnnotations"] = answer
    server.put(f"{EVENTS}/old", note="an old one", regarding={"kind": "ModelEndpoint", "name": "churn"}, eventTime="1")
    assert run("promote") == 0
    assert server.objects[f"{ENDPOINTS}/churn"]["metadata"]["annotations"] == answer
    assert capsys.readouterr().out == "churn: promote of revision 2\n"


def test_an_order_that_nobody_answers_is_told(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelendpoint.commands.orders.ANSWER_SECONDS", 0.0)
    assert run("abort") == 124
    assert "churn has not answered" in capsys.readouterr().err


def test_rows_go_through_the_api_server(server: FakeApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.texts[PREDICT] = ({"x-model-revision": "2", "x-request-id": "a"}, '{"predictions":[1]}')
    Path("rows.csv").write_text("1,2\n")
    assert run("predict", "churn", "rows.csv") == 0
    said = capsys.readouterr()
    assert said.out == '{"predictions":[1]}\n'
    assert said.err == "revision 2, status 200\n"


def test_rows_for_an_endpoint_with_tls_go_by_its_https_port(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.objects[f"{ENDPOINTS}/churn"]["status"]["url"] = "https://churn.team-a.svc"
    path = PREDICT.replace("http:churn:80", "https:churn:443")
    server.texts[path] = ({"x-model-revision": "2", "x-request-id": "a"}, '{"predictions":[1]}')
    Path("rows.csv").write_text("1,2\n")
    assert run("predict", "churn", "rows.csv") == 0
    assert capsys.readouterr().out == '{"predictions":[1]}\n'


def test_what_the_api_server_itself_refuses_is_its_words(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults.append(("/proxy/", 403, "you may not create services/proxy"))
    Path("rows.json").write_text("{}")
    assert run("predict", "rows.json") == 1
    assert "does not pass the request on: you may not create services/proxy" in capsys.readouterr().err


def test_logs_of_a_revision_are_printed(server: FakeApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        labels = {"modelendpoint.dev/endpoint": "churn", "modelendpoint.dev/revision": str(number)}
        server.put(f"{PODS}/churn-r{number}-x", metadata={"labels": labels})
        server.texts[f"{PODS}/churn-r{number}-x/log"] = ({}, f"first of {number}\nsecond")
    assert run("logs", "--revision", "2") == 0
    assert capsys.readouterr().out == "churn-r2-x  first of 2\nchurn-r2-x  second\n"


def test_logs_of_workers_are_printed(server: FakeApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    put_batch(server)
    server.put(f"{PODS}/weekly-plan-x", metadata={"labels": {"modelendpoint.dev/batch": "weekly"}})
    server.texts[f"{PODS}/weekly-plan-x/log"] = ({}, "Gave up")
    assert run("logs", "weekly") == 0
    assert capsys.readouterr().out == "weekly-plan-x  Gave up\n"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((ENDPOINTS, 404, "page not found"), "ModelEndpoint is not installed in this cluster"),
        ((ENDPOINTS, 403, "may not list"), "refuses to list modelendpoints"),
        ((ENDPOINTS, 500, "broken"), "does not answer"),
    ],
)
def test_what_is_in_the_way_is_a_sentence(
    server: FakeApiServer, capsys: pytest.CaptureFixture[str], fault: tuple[str, int, str], words: str
) -> None:
    server.faults.append(fault)
    assert run("get") == 1
    assert words in capsys.readouterr().err


def test_without_a_cluster_the_next_step_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nowhere"))
    assert run("get") == 1
    assert "--kubeconfig and --context" in capsys.readouterr().err
    assert run("get", "--state", str(tmp_path)) == 2
    assert "leave it out for endpoints in a cluster" in capsys.readouterr().err

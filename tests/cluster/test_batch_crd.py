"""The CRD of BatchPrediction and its admission policy on a real API server: what is accepted, refused, defaulted, shown.

Nothing here needs a node or the operator, and nothing minds if an operator is at work: each object is suspended, or
only tried.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from modelendpoint_operator.names import API_VERSION, BATCH_KIND
from support.cluster import REPOSITORY, Cluster, CommandFailed
from support.helm import NAMESPACE as SYSTEM
from support.helm import RELEASE, of_kind, render_chart

NAMESPACE = "batch-crd-test"
CRDS = [str(path) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
EXAMPLES = sorted((REPOSITORY / "examples/05-batch").glob("*.yaml"))
MODEL = {"uri": "s3://models/churn/3/model.onnx"}
IN, OUT = {"uri": "s3://customers/2026-11/"}, {"uri": "s3://reports/2026-11/"}
SCHEDULE = {"cron": "0 6 * * MON"}
DATED = {"uri": "s3://reports/dt={{ .ScheduledDate }}/"}


@pytest.fixture(scope="module", autouse=True)
def crd(cluster: Cluster) -> Iterator[None]:
    """Install the CRDs as a user without Helm does, and make a namespace of our own."""
    owner = (f"meta.helm.sh/release-name={RELEASE}", f"meta.helm.sh/release-namespace={SYSTEM}")
    for path in CRDS:
        cluster.kubectl("apply", "-f", path)
        cluster.kubectl("wait", "--for=condition=Established", "-f", path)
        cluster.kubectl("label", "-f", path, "app.kubernetes.io/managed-by=Helm", "--overwrite")
        cluster.kubectl("annotate", "-f", path, *owner, "--overwrite")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def a_batch(name: str = "weekly", **spec: Any) -> str:
    fields = {"model": MODEL, "input": IN, "output": OUT, **spec}
    kept = {field: value for field, value in fields.items() if value is not None}
    document = {"apiVersion": API_VERSION, "kind": BATCH_KIND, "metadata": {"name": name}, "spec": kept}
    return yaml.safe_dump(document)


def dry_run(cluster: Cluster, manifest: str) -> Any:
    flags = ("--dry-run=server", "--namespace", NAMESPACE, "-o", "json")
    return json.loads(cluster.kubectl("apply", "-f", "-", *flags, stdin=manifest))


def scheduled(**spec: Any) -> dict[str, Any]:
    return {"schedule": SCHEDULE, "output": DATED, **spec}


def by_endpoint(**reference: Any) -> dict[str, Any]:
    return {"model": None, "endpointRef": {"name": "churn", **reference}}


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("weekly", {}),
    ("9-to-5", {}),
    ("a" * 50, {}),
    ("a" * 40, scheduled()),
    ("weekly", by_endpoint()),
    ("weekly", by_endpoint(revision=7)),
    ("weekly", {"input": {"uri": "s3://customers/**/part-?.csv"}}),
    ("weekly", {"input": {"uri": "https://host.example/a.csv.gz", "compression": "Gzip", "format": "CSV"}}),
    ("weekly", {"input": {"uri": "configmap://rows/rows.csv"}}),
    ("weekly", {"input": {"uri": "pvc://data/in/"}, "output": {"uri": "pvc://data/out/"}}),
    ("weekly", {"output": {**OUT, "partitioning": ["country"], "credentialsSecretRef": {"name": "models"}}}),
    ("weekly", {"columns": {"features": ["a", "b"], "passThrough": ["id"], "join": True}}),
    ("weekly", {"errorThreshold": {"rows": 0}}),
    ("weekly", {"errorThreshold": {"percent": 0.5}}),
    ("weekly", {"compareWith": {"model": {"uri": "s3://m/k"}, "absoluteTolerance": 0.5}}),
    ("weekly", {**by_endpoint(), "compareWith": {"revision": 8}}),
    ("weekly", {"resources": {"requests": {"cpu": 2}, "limits": {"memory": "4Gi"}}}),
    ("weekly", scheduled(input={"uri": "s3://in/dt={{.ScheduledDate}}/h={{ .ScheduledHour }}/{{ .Run }}/"})),
    ("weekly", scheduled(schedule={"cron": "*/5 0-6 1,15 * 1-5", "timeZone": "Europe/Berlin"})),
    ("weekly", {"suspend": True, "ttlSecondsAfterFinished": 0, "deadlineSeconds": 1, "serviceAccountName": "reports"}),
]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("-weekly", {}, "Jobs are named after it"),
    ("Weekly", {}, "a lowercase RFC 1123"),
    ("we.ekly", {}, "metadata.name: Forbidden: Jobs are named after it"),
    ("a" * 51, {}, "metadata.name: Forbidden: Jobs are named after it"),
    ("a" * 41, scheduled(), "metadata.name: Forbidden: Jobs are named after it"),
    ("weekly", {"model": None}, "spec: Forbidden: must have either model or endpointRef"),
    ("weekly", {"endpointRef": {"name": "churn"}}, "spec: Forbidden: must have either model or endpointRef"),
    ("weekly", {"model": {"uri": "pvc://claim"}}, "spec.model.uri: Forbidden: must be pvc://<claim>/<path>"),
    ("weekly", {"model": {"uri": "https://a:b@h/m"}}, "spec.model.uri: Forbidden: must not hold credentials"),
    (
        "weekly",
        {"model": {"uri": "pvc://c/m", "credentialsSecretRef": {"name": "s"}}},
        "spec.model.credentialsSecretRef: Forbidden: is of no use",
    ),
    ("weekly", {"input": {"uri": "pvc://data/../x"}}, "spec.input.uri: Forbidden: must be pvc://<claim>/<path>"),
    ("weekly", {"input": {"uri": "s3://customers"}}, "spec.input.uri: Forbidden: must have a path"),
    ("weekly", {"input": {"uri": "configmap://rows/a/b"}}, "spec.input.uri: Forbidden: must be configmap://"),
    (
        "weekly",
        {"input": {"uri": "configmap://rows/a", "credentialsSecretRef": {"name": "s"}}},
        "spec.input.credentialsSecretRef: Forbidden: is of no use",
    ),
    ("weekly", {"output": {"uri": "https://host/x/"}}, "spec.output.uri: Invalid value"),
    ("weekly", {"output": {"uri": "pvc://data/../x"}}, "spec.output.uri: Forbidden: must be pvc://<claim>/<path>"),
    ("weekly", {"output": {"uri": "s3://reports"}}, "spec.output.uri: Forbidden: must have a path"),
    ("weekly", {"output": {"uri": "s3://me:pw@h/x/"}}, "spec.output.uri: Forbidden: must not hold credentials"),
    ("weekly", {"output": {"uri": "s3://reports/*/"}}, "spec.output.uri: Forbidden: must be one folder"),
    (
        "weekly",
        {"output": {"uri": "pvc://data/out/", "credentialsSecretRef": {"name": "s"}}},
        "spec.output.credentialsSecretRef: Forbidden: is of no use",
    ),
    ("weekly", {"output": {"uri": "s3://customers/2026-11/out/"}}, "spec.output.uri: Forbidden: must not be inside"),
    ("weekly", {"output": DATED}, "placeholders are for runs of a schedule"),
    ("weekly", scheduled(output=OUT), "spec.output.uri: Forbidden: must give each run a folder of its own"),
    ("weekly", scheduled(output={"uri": "s3://r/{{ .Date }}/"}), "spec.output.uri: Forbidden: knows the placeholders"),
    ("weekly", scheduled(input={"uri": "s3://r/{{ .Date }}/"}), "spec.input.uri: Forbidden: knows the placeholders"),
    ("weekly", scheduled(schedule={"cron": "@daily"}), "spec.schedule.cron"),
    ("weekly", {"errorThreshold": {}}, "spec.errorThreshold: Forbidden: must have either rows or percent"),
    ("weekly", {"errorThreshold": {"rows": 1, "percent": 1}}, "must have either rows or percent"),
    ("weekly", {"compareWith": {}}, "spec.compareWith: Forbidden: must have either model, or a revision"),
    ("weekly", {"compareWith": {"revision": 8}}, "spec.compareWith.revision: Forbidden: is a revision of the endpoint"),
    (
        "weekly",
        {"compareWith": {"model": {"uri": "pvc://claim"}}},
        "spec.compareWith.model.uri: Forbidden: must be pvc://<claim>/<path>",
    ),
    (
        "weekly",
        {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}},
        "spec.resources.requests.cpu: Forbidden: requests.cpu must not be above",
    ),
    ("weekly", {"resources": {"limits": {"memory": "1m"}}}, "must be at least 16Mi"),
    ("weekly", {"parallelism": 0}, "spec.parallelism"),
    ("weekly", {"schedul": SCHEDULE}, 'unknown field "spec.schedul"'),
]


@pytest.mark.parametrize(("name", "spec"), ACCEPTED)
def test_is_accepted(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    assert cluster.try_creating(a_batch(name, **spec), namespace=NAMESPACE)["metadata"]["name"] == name


@pytest.mark.parametrize(("name", "spec", "words"), REFUSED)
def test_is_refused_with_the_field_and_the_cause(cluster: Cluster, name: str, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(CommandFailed) as failure:
        cluster.try_creating(a_batch(name, **spec), namespace=NAMESPACE)
    assert words in str(failure.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_accepted(cluster: Cluster, path: Any) -> None:
    dry_run(cluster, path.read_text())


def test_defaults_are_those_of_the_reference(cluster: Cluster) -> None:
    stored = cluster.try_creating(a_batch(**scheduled()), namespace=NAMESPACE)

    assert stored["status"] == {"observedGeneration": -1}
    spec = stored["spec"]
    assert (spec["parallelism"], spec["retries"], spec["shardRows"], spec["suspend"]) == (1, 6, 1_000_000, False)
    assert spec["errorThreshold"] == {"percent": 1}
    assert spec["schedule"] == {
        "cron": "0 6 * * MON",
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "successfulRunsHistoryLimit": 3,
        "failedRunsHistoryLimit": 3,
    }
    in_rows = cluster.try_creating(a_batch(errorThreshold={"rows": 5}), namespace=NAMESPACE)
    assert in_rows["spec"]["errorThreshold"] == {"rows": 5}


CHANGES: list[dict[str, Any]] = [
    {"model": {"uri": "s3://models/churn/4/model.onnx"}},
    by_endpoint(),
    {"input": {"uri": "s3://customers/2026-12/"}},
    {"output": {"uri": "s3://reports/2026-12/"}},
    {"columns": {"join": True}},
    {"compareWith": {"model": {"uri": "s3://m/k"}}},
    {"errorThreshold": {"rows": 5}},
    {"resources": {"limits": {"memory": "4Gi"}}},
    {"shardRows": 5},
    {"shardBytes": 4096},
    {"retries": 1},
    {"serviceAccountName": "reports"},
    {"schedule": SCHEDULE, "output": DATED},
]


@pytest.fixture(scope="module")
def stored(cluster: Cluster) -> str:
    """A run that waits, suspended."""
    manifest = a_batch("stored", suspend=True)
    cluster.kubectl("apply", "-f", "-", "-n", NAMESPACE, stdin=manifest)
    return "stored"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_what_a_run_is_made_from_stays(cluster: Cluster, stored: str, change: dict[str, Any]) -> None:
    with pytest.raises(CommandFailed, match="make another BatchPrediction"):
        dry_run(cluster, a_batch(stored, suspend=True, **change))


def test_what_does_not_change_the_output_may_be_changed(cluster: Cluster, stored: str) -> None:
    changes = {"parallelism": 5, "deadlineSeconds": 60, "ttlSecondsAfterFinished": 5, "suspend": False}
    dry_run(cluster, a_batch(stored, **changes))


def test_a_schedule_may_be_changed_but_not_taken_away(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", "-n", NAMESPACE, stdin=a_batch("nightly", **scheduled(suspend=True)))
    dry_run(cluster, a_batch("nightly", **scheduled(model={"uri": "s3://m/k"}, schedule={"cron": "0 0 * * *"})))
    with pytest.raises(CommandFailed, match="a schedule can't be added or taken away"):
        dry_run(cluster, a_batch("nightly", suspend=True))


@pytest.mark.parametrize("word", ["bp", "batchprediction", "batchpredictions", "ml", "all"])
def test_batch_predictions_are_found_under(cluster: Cluster, stored: str, word: str) -> None:
    found = cluster.kubectl("get", word, "-n", NAMESPACE, "-o", "name")
    assert "batchprediction.modelendpoint.dev/stored" in found


def test_explain_describes_the_fields(cluster: Cluster) -> None:
    said = cluster.kubectl("explain", "bp.spec.schedule.concurrencyPolicy")
    assert "skipped and reported" in " ".join(said.split())


# Who may name what.


@pytest.fixture(scope="module")
def policy(cluster: Cluster) -> Iterator[None]:
    """Install only the admission policies of the chart, for our namespace, and users with different rights."""
    chart = render_chart({"watchNamespaces": [NAMESPACE]}, release="batch-crd-test")
    objects = of_kind(chart, "ValidatingAdmissionPolicy") + of_kind(chart, "ValidatingAdmissionPolicyBinding")
    (editor,) = (role for role in of_kind(chart, "ClusterRole") if role["metadata"]["name"].endswith("-edit"))
    del editor["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, editor]})
    cluster.kubectl("apply", "-f", "-", stdin=document)
    where = ("-n", NAMESPACE)
    users = ("--user=ann", "--user=bob", "--user=pod")
    cluster.kubectl("create", "rolebinding", "edit", *where, f"--clusterrole={editor['metadata']['name']}", *users)
    for role, user, right in (
        ("get-models", "ann", ("--verb=get", "--resource=secrets", "--resource-name=models")),
        ("get-rows", "ann", ("--verb=get", "--resource=configmaps", "--resource-name=rows")),
        ("run-pods", "pod", ("--verb=create", "--resource=pods")),
    ):
        cluster.kubectl("create", "role", role, *where, *right)
        cluster.kubectl("create", "rolebinding", role, *where, f"--role={role}", f"--user={user}")
    _wait_until_enforced(cluster)
    yield
    cluster.kubectl("delete", "-f", "-", stdin=document)


def _wait_until_enforced(cluster: Cluster) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if "may not get" in try_as(cluster, "bob", output=with_secret(OUT)):
            return
    pytest.fail("the admission policy was not enforced within 30 s")


def with_secret(part: dict[str, Any], name: str = "models") -> dict[str, Any]:
    return {**part, "credentialsSecretRef": {"name": name}}


def try_as(cluster: Cluster, user: str, *, manifest: str | None = None, **spec: Any) -> str:
    """Say what the API server says to a user who tries to create or change a BatchPrediction."""
    text = manifest or a_batch("tried", suspend=True, **spec)
    return cluster.kubectl(
        "apply", "-f", "-", "--dry-run=server", "-n", NAMESPACE, "--as", user, stdin=text, check=False
    )


GUARDED: list[tuple[str, dict[str, Any], str, str]] = [
    ("model", {"model": with_secret(MODEL)}, "ann", 'may not get the Secret "models"'),
    ("input", {"input": with_secret(IN)}, "ann", 'may not get the Secret "models"'),
    ("output", {"output": with_secret(OUT)}, "ann", 'may not get the Secret "models"'),
    (
        "comparison",
        {"compareWith": {"model": with_secret({"uri": "s3://m/k"})}},
        "ann",
        'may not get the Secret "models"',
    ),
    ("ConfigMap", {"input": {"uri": "configmap://rows/rows.csv"}}, "ann", "only those who may get the ConfigMap"),
    ("input claim", {"input": {"uri": "pvc://data/in/"}}, "pod", "only those who may create pods"),
    ("output claim", {"output": {"uri": "pvc://data/out/"}}, "pod", "only those who may create pods"),
    ("account", {"serviceAccountName": "reports"}, "pod", "only those who may run pods as the ServiceAccount"),
]


@pytest.mark.usefixtures("policy")
class TestRightsOfAuthors:
    """An author gains no right that he did not have."""

    @pytest.mark.parametrize(
        ("spec", "may", "words"), [case[1:] for case in GUARDED], ids=[case[0] for case in GUARDED]
    )
    def test_only_who_may_use_it_may_name_it(
        self, cluster: Cluster, spec: dict[str, Any], may: str, words: str
    ) -> None:
        assert words in try_as(cluster, "bob", **spec)
        assert "created" in try_as(cluster, may, **spec)

    def test_the_right_to_one_secret_is_no_right_to_another(self, cluster: Cluster) -> None:
        spec: dict[str, Any] = {"input": with_secret(IN), "output": with_secret(OUT, "database")}
        assert 'may not get the Secret "database"' in try_as(cluster, "ann", **spec)

    def test_all_secrets_that_one_can_name_may_be_named_together(self, cluster: Cluster) -> None:
        model = {"uri": "s3://m/k"}
        spec: dict[str, Any] = {"model": with_secret(MODEL), "input": with_secret(IN), "output": with_secret(OUT)}
        assert "created" in try_as(cluster, "ann", **spec, compareWith={"model": with_secret(model)})
        assert 'the Secret "other"' in try_as(
            cluster, "ann", **spec, compareWith={"model": with_secret(model, "other")}
        )

    def test_what_needs_no_secret_needs_no_right(self, cluster: Cluster) -> None:
        assert "created" in try_as(cluster, "bob")

    def test_an_endpoint_may_be_named_by_who_may_get_it(self, cluster: Cluster) -> None:
        assert "created" in try_as(cluster, "bob", **by_endpoint())

    def test_who_lacks_the_right_may_suspend_and_retry_but_not_send_it_elsewhere(self, cluster: Cluster) -> None:
        manifest = a_batch("guarded", suspend=True, **scheduled(output=with_secret(DATED)))
        cluster.kubectl("apply", "-f", "-", "-n", NAMESPACE, "--as", "ann", stdin=manifest)
        bob = ("-n", NAMESPACE, "--as", "bob")
        cluster.kubectl("patch", "bp", "guarded", "--type=merge", "-p", '{"spec": {"parallelism": 3}}', *bob)
        cluster.kubectl("annotate", "bp", "guarded", "modelendpoint.dev/retry=1", *bob)
        elsewhere = manifest.replace("s3://reports/", "s3://mine/")
        assert 'bob may not get the Secret "models"' in try_as(cluster, "bob", manifest=elsewhere)

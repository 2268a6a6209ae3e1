"""The CRD as users meet it: what a real API server accepts, refuses, defaults, explains and shows.

Nothing here needs a node or the operator, and nothing minds if an operator is at work.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelendpoint_operator.api.crd import COLUMNS, WIDE_COLUMNS
from modelendpoint_operator.api.rules import RULES
from modelendpoint_operator.names import API_VERSION, KIND
from support.api_answers import ACCEPTED, BREAKING_A_RULE, WRONG_VALUES, an_endpoint, capture, model, resources
from support.cluster import REPOSITORY, Cluster, CommandFailed
from support.helm import NAMESPACE as SYSTEM
from support.helm import RELEASE, of_kind, render_chart

pytestmark = pytest.mark.cluster

NAMESPACE = "crd-test"
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/endpoint.yaml"))
CRD = str(REPOSITORY / "crds" / "modelendpoint.dev_modelendpoints.yaml")


@pytest.fixture(scope="module", autouse=True)
def crd(cluster: Cluster) -> Iterator[None]:
    """Install the CRD as a user without Helm does, by a plain client-side apply, and make a namespace of our own."""
    cluster.kubectl("apply", "-f", CRD)
    cluster.kubectl("wait", "--for=condition=Established", "-f", CRD)
    # Let a release that comes later adopt it: Helm touches nothing that it does not know as its own.
    cluster.kubectl("label", "-f", CRD, "app.kubernetes.io/managed-by=Helm", "--overwrite")
    owner = (f"meta.helm.sh/release-name={RELEASE}", f"meta.helm.sh/release-namespace={SYSTEM}")
    cluster.kubectl("annotate", "-f", CRD, *owner, "--overwrite")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def dry_run(cluster: Cluster, manifest: str) -> Any:
    """Create an endpoint without keeping it; returns the object with the server's defaults."""
    return cluster.try_creating(manifest, namespace=NAMESPACE)


def refusal(cluster: Cluster, manifest: str) -> str:
    with pytest.raises(CommandFailed) as failure:
        dry_run(cluster, manifest)
    return str(failure.value)


@pytest.mark.parametrize(("name", "spec"), ACCEPTED, ids=str)
def test_good_endpoint_is_accepted(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    assert dry_run(cluster, an_endpoint(name, **spec))["metadata"]["name"] == name


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.parent.name for path in EXAMPLES])
def test_example_is_accepted(cluster: Cluster, path: Path) -> None:
    cluster.kubectl("apply", "--dry-run=server", "--namespace", NAMESPACE, "-f", str(path))


@pytest.mark.parametrize(("name", "spec", "answer"), BREAKING_A_RULE, ids=[answer for *_, answer in BREAKING_A_RULE])
def test_endpoint_that_breaks_a_rule_is_refused(cluster: Cluster, name: str, spec: dict[str, Any], answer: str) -> None:
    assert answer in refusal(cluster, an_endpoint(name, **spec))


def test_every_rule_is_broken_by_a_test_above() -> None:
    for rule in RULES:
        assert any(rule.message.startswith(answer.partition("Forbidden: ")[2]) for *_, answer in BREAKING_A_RULE), rule


@pytest.mark.parametrize(("spec", "answer"), WRONG_VALUES, ids=[answer for _, answer in WRONG_VALUES])
def test_unknown_field_or_wrong_value_is_refused_by_its_name(
    cluster: Cluster, spec: dict[str, Any], answer: str
) -> None:
    assert answer in refusal(cluster, an_endpoint(**spec))


def test_credentials_in_a_uri_are_not_repeated_in_the_answer(cluster: Cluster) -> None:
    answer = refusal(cluster, an_endpoint(**model("https://me:hunter2@host/m.onnx")))
    assert "hunter2" not in answer


def test_endpoint_without_a_spec_is_refused(cluster: Cluster) -> None:
    manifest = yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "churn"}})
    assert "spec: Required value" in refusal(cluster, manifest)


def test_defaults_are_filled_in_by_the_server_and_the_authors_text_stays(cluster: Cluster) -> None:
    spec = dry_run(cluster, an_endpoint(**resources(requests={"cpu": 2, "memory": "1024Mi"})))["spec"]
    assert spec == {
        "model": {"uri": "s3://models/churn/3/model.onnx"},
        "replicas": 1,
        "server": {"resources": {"requests": {"cpu": 2, "memory": "1024Mi"}}},
        "rollout": {
            "strategy": "Canary",
            "steps": [{"weight": 10, "holdSeconds": 60}, {"weight": 50, "holdSeconds": 60}],
            "keepSeconds": 300,
            "bakeSeconds": 0,
            "onFailure": "Rollback",
            "gates": {
                "errorRate": {"maxIncreasePercent": 2, "countClientErrors": True},
                "prometheus": [],
                "http": [],
                "replay": [],
                "minimumRequests": 50,
                "confidencePercent": 95,
                "insufficientData": {"afterSeconds": 0, "action": "Continue"},
            },
        },
        "variants": [],
        "shadows": [],
        "routing": {"replicas": 2, "timeoutSeconds": 60, "allowPinning": False},
        "revisionHistoryLimit": 10,
    }


def test_status_says_unobserved_before_any_operator_has_seen_the_endpoint(cluster: Cluster) -> None:
    manifest = an_endpoint("unseen")
    flags = ("--dry-run=server", "--namespace", NAMESPACE, "-o", "json")
    created = json.loads(cluster.kubectl("create", "-f", "-", *flags, stdin=manifest))
    assert created["status"] == {"observedGeneration": -1}


def test_users_cannot_write_status_with_the_spec(cluster: Cluster) -> None:
    document = {**yaml.safe_load(an_endpoint("unseen")), "status": {"url": "http://evil"}}
    assert dry_run(cluster, yaml.safe_dump(document))["status"] == {"observedGeneration": -1}


def test_explain_tells_what_a_field_means(cluster: Cluster) -> None:
    said = cluster.kubectl("explain", "mep.spec.model.uri")
    assert "FIELD: uri <string>" in said
    assert "s3://bucket/key" in said
    assert "Percent of the traffic" in cluster.kubectl("explain", "mep.spec.rollout.steps.weight")
    everything = cluster.kubectl("explain", "mep", "--recursive")
    for name in ("credentialsSecretRef", "holdSeconds", "revisionHistoryLimit", "observedGeneration"):
        assert name in everything


READY = {
    "type": "Ready",
    "status": "False",
    "reason": "RollingOut",
    "message": "Revision 8 has 10 % of the traffic",
    "lastTransitionTime": "2026-11-24T00:00:00Z",
    "observedGeneration": 1,
}
STATUS = {
    "observedGeneration": 1,
    "url": "http://churn.crd-test.svc",
    "replicas": 2,
    "selector": "modelendpoint.dev/endpoint=churn",
    "stable": {"revision": 7, "version": "2", "sha256": "a" * 64, "weight": 90, "replicas": 2, "readyReplicas": 2},
    "candidate": {"revision": 8, "version": "3", "weight": 10, "replicas": 1, "readyReplicas": 1},
    "conditions": [READY],
}


@pytest.fixture(scope="module")
def stored(cluster: Cluster) -> Iterator[str]:
    """Keep an endpoint with a status, under a copy of the CRD by another name: no operator writes that one's status."""
    document = yaml.safe_load(Path(CRD).read_text())
    document["metadata"]["name"] = COPY
    document["spec"]["group"] = COPY.partition(".")[2]
    document["spec"]["names"] = {"kind": "Copied", "listKind": "CopiedList", "plural": "copies", "singular": "copy"}
    manifest = yaml.safe_dump(document)
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    cluster.kubectl("wait", "--for=condition=Established", "-f", "-", stdin=manifest)
    endpoint = {**yaml.safe_load(an_endpoint(replicas=2)), "kind": "Copied", "apiVersion": "copy.example/v1alpha1"}
    cluster.apply(endpoint, namespace=NAMESPACE)
    patch_status(cluster, f"{COPY}/churn", STATUS)
    yield f"{COPY}/churn"
    cluster.kubectl("delete", "-f", "-", stdin=manifest)


COPY = "copies.copy.example"


def patch_status(cluster: Cluster, name: str, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "--patch", patch)


def cells(table: str) -> dict[str, str]:
    """Read kubectl's table of one row; an empty cell is an empty text."""
    header, row = table.splitlines()
    titles = header.split()
    starts = [header.index(f" {title}") + 1 if index else 0 for index, title in enumerate(titles)]
    ends = [*starts[1:], max(len(row), len(header))]
    return {title: row[start:end].strip() for title, start, end in zip(titles, starts, ends, strict=True)}


def test_get_shows_an_endpoint_in_one_line(cluster: Cluster, stored: str) -> None:
    shown = cells(cluster.kubectl("get", stored, "-n", NAMESPACE))
    assert list(shown) == ["NAME", *(column[0].upper() for column in COLUMNS)]
    assert shown.pop("AGE")
    assert shown == {
        "NAME": "churn",
        "READY": "False",
        "MODEL": "2",
        "CANDIDATE": "3",
        "WEIGHT": "10",
        "STATUS": "RollingOut",
        "URL": "http://churn.crd-test.svc",
    }


def test_get_wide_shows_the_rest(cluster: Cluster, stored: str) -> None:
    shown = cells(cluster.kubectl("get", stored, "-n", NAMESPACE, "-o", "wide"))
    assert list(shown) == ["NAME", *(column[0].upper() for column in COLUMNS + WIDE_COLUMNS)]
    assert shown["REVISION"] == "7"
    assert shown["REPLICAS"] == "2"
    assert shown["SHA256"] == "a" * 64
    assert shown["STRATEGY"] == "Canary"
    assert shown["MESSAGE"] == "Revision 8 has 10 % of the traffic"


@pytest.mark.parametrize("word", ["mep", "modelendpoint", "modelendpoints", "ml", "all"])
def test_endpoints_are_found_under(cluster: Cluster, word: str) -> None:
    cluster.kubectl("apply", "--namespace", NAMESPACE, "-f", "-", stdin=an_endpoint("found"))
    assert "modelendpoint.modelendpoint.dev/found" in cluster.kubectl("get", word, "-n", NAMESPACE, "-o", "name")


def test_scale_changes_replicas(cluster: Cluster, stored: str) -> None:
    cluster.kubectl("scale", stored, "-n", NAMESPACE, "--replicas=5")
    assert cluster.get(*stored.split("/"), namespace=NAMESPACE)["spec"]["replicas"] == 5
    path = f"/apis/copy.example/v1alpha1/namespaces/{NAMESPACE}/copies/churn/scale"
    scale = json.loads(cluster.kubectl("get", "--raw", path))
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 2, "selector": "modelendpoint.dev/endpoint=churn"}


def test_a_condition_is_there_once(cluster: Cluster, stored: str) -> None:
    twice = [{**READY, "reason": reason} for reason in ("One", "Two")]
    with pytest.raises(CommandFailed, match="Duplicate value"):
        patch_status(cluster, stored, {"conditions": twice})


@pytest.fixture(scope="module")
def policy(cluster: Cluster) -> Iterator[None]:
    """Install only the admission policy of the chart, for our namespace, and two users who may edit endpoints there."""
    chart = render_chart({"watchNamespaces": [NAMESPACE]}, release="crd-test")
    objects = of_kind(chart, "ValidatingAdmissionPolicy") + of_kind(chart, "ValidatingAdmissionPolicyBinding")
    (editor,) = (role for role in of_kind(chart, "ClusterRole") if role["metadata"]["name"].endswith("-edit"))
    del editor["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, editor]})
    cluster.kubectl("apply", "-f", "-", stdin=document)
    in_namespace = ("-n", NAMESPACE)
    users = ("--user=ann", "--user=bob", "--user=pod", "--user=tok")
    cluster.kubectl(
        "create", "rolebinding", "edit", *in_namespace, f"--clusterrole={editor['metadata']['name']}", *users
    )
    cluster.kubectl(
        "create", "role", "read-models", *in_namespace, "--verb=get", "--resource=secrets", "--resource-name=models"
    )
    cluster.kubectl("create", "rolebinding", "read-models", *in_namespace, "--role=read-models", "--user=ann")
    for role, user, right in (
        ("run-pods", "pod", ("--resource=pods",)),
        ("be-models", "tok", ("--resource=serviceaccounts/token", "--resource-name=models")),
        ("open-doors", "ann", ("--resource=ingresses",)),
    ):
        cluster.kubectl("create", "role", role, *in_namespace, "--verb=create", *right)
        cluster.kubectl("create", "rolebinding", role, *in_namespace, f"--role={role}", f"--user={user}")
    _wait_until_enforced(cluster)
    yield
    cluster.kubectl("delete", "-f", "-", stdin=document)


def _wait_until_enforced(cluster: Cluster) -> None:
    """A new policy is in force a moment after it was accepted."""
    bob = ("-n", NAMESPACE, "--as", "bob")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        said = cluster.kubectl("create", "-f", "-", "--dry-run=server", *bob, stdin=WITH_SECRET, check=False)
        if "may not get the Secret" in said:
            return
    pytest.fail("the admission policy was not enforced within 30 s")


WITH_SECRET = an_endpoint("guarded", **model("s3://models/churn/3/model.onnx", credentialsSecretRef={"name": "models"}))
WITH_OTHER_SECRET = WITH_SECRET.replace("name: models", "name: database")
WITH_ACCOUNT = an_endpoint("identified", **model("s3://models/churn/3/model.onnx", serviceAccountName="models"))
ELSEWHERE = WITH_SECRET.replace("s3://models/", "https://mine.example/")


def apply_as(cluster: Cluster, user: str, manifest: str) -> None:
    cluster.kubectl("apply", "-f", "-", "-n", NAMESPACE, "--as", user, stdin=manifest)


URGENT = {"server": {"priorityClassName": "urgent"}}
URGENT_ARM = {"variants": [{"name": "b", "model": {"uri": "s3://m/b"}, **URGENT}]}
URGENT_SHADOW = {"shadows": [{"name": "b", "model": {"uri": "s3://m/b"}, "percent": 10, **URGENT}]}
BY_INGRESS = {"routing": {"ingress": {"hostnames": ["churn.example.com"]}}}
BY_GATEWAY = {"routing": {"gateway": {"parentRefs": [{"name": "public"}]}}}


@pytest.mark.usefixtures("policy")
class TestPlacementOfEndpoints:
    """Who may not do a thing himself may not let an endpoint do it either."""

    @pytest.mark.parametrize(
        ("user", "spec", "answer"),
        [
            ("bob", URGENT, "server.priorityClassName: bob may not create pods"),
            ("bob", URGENT_ARM, "server.priorityClassName: bob may not create pods"),
            ("bob", URGENT_SHADOW, "server.priorityClassName: bob may not create pods"),
            ("pod", URGENT, None),
            ("bob", BY_INGRESS, "spec.routing.ingress: bob may not create ingresses"),
            ("ann", BY_INGRESS, None),
            ("ann", BY_GATEWAY, "spec.routing.gateway: ann may not create httproutes"),
        ],
    )
    def test_an_author_needs_the_right_himself(
        self, cluster: Cluster, user: str, spec: dict[str, Any], answer: str | None
    ) -> None:
        manifest = an_endpoint("placed", **spec)
        said = cluster.kubectl(
            *("create", "-f", "-", "--dry-run=server", "-n", NAMESPACE, "--as", user), stdin=manifest, check=False
        )
        assert (answer or "created (server dry run)") in said

    def test_who_has_not_the_right_may_scale_and_change_the_model(self, cluster: Cluster) -> None:
        apply_as(cluster, "pod", an_endpoint("urgent", **URGENT))
        bob = ("-n", NAMESPACE, "--as", "bob")
        cluster.kubectl("scale", "mep", "urgent", "--replicas=2", *bob)
        apply_as(cluster, "bob", an_endpoint("urgent", **URGENT, **model("s3://models/churn/4/model.onnx")))


@pytest.mark.usefixtures("policy")
class TestSecretsOfEndpoints:
    """Who may not get a Secret may not give it to an endpoint either."""

    def test_user_who_may_not_get_the_secret_is_refused_with_the_next_step(self, cluster: Cluster) -> None:
        with pytest.raises(CommandFailed) as failure:
            apply_as(cluster, "bob", WITH_SECRET)
        said = str(failure.value)
        assert "spec.model.credentialsSecretRef: bob may not get the Secret" in said
        assert "name another Secret or ask for the right to get this one" in said

    @pytest.mark.parametrize("field", ["auth.apiKeys", "tls"])
    def test_a_secret_of_the_routers_is_one_too(self, cluster: Cluster, field: str) -> None:
        part: dict[str, Any] = {"secretRef": {"name": "models"}}
        for name in reversed(field.split(".")):
            part = {name: part}
        with pytest.raises(CommandFailed, match=rf"spec.routing.{field}.secretRef: bob may not get the Secret"):
            apply_as(cluster, "bob", an_endpoint("guarded", routing=part))

    @pytest.mark.parametrize("field", ["credentialsSecretRef", "hashKeySecretRef"])
    def test_a_secret_of_the_monitor_is_one_too(self, cluster: Cluster, field: str) -> None:
        part = capture("s3://captures/churn", **{field: {"name": "models"}})
        with pytest.raises(CommandFailed, match=rf"spec.monitoring.capture.{field}: bob may not get the Secret"):
            apply_as(cluster, "bob", an_endpoint("guarded", **part))
        apply_as(cluster, "ann", an_endpoint("monitored", **part))

    def test_only_who_may_create_pods_may_have_a_monitor_write_to_a_claim(self, cluster: Cluster) -> None:
        with pytest.raises(CommandFailed, match="only those who may create pods"):
            apply_as(cluster, "bob", an_endpoint("guarded", **capture("pvc://captures/churn")))

    def test_user_who_may_get_the_secret_is_let_through(self, cluster: Cluster) -> None:
        apply_as(cluster, "ann", WITH_SECRET)

    def test_the_right_to_one_secret_is_no_right_to_another(self, cluster: Cluster) -> None:
        with pytest.raises(CommandFailed, match="ann may not get the Secret"):
            apply_as(cluster, "ann", WITH_OTHER_SECRET)

    def test_user_without_the_right_may_serve_models_that_need_no_secret(self, cluster: Cluster) -> None:
        apply_as(cluster, "bob", an_endpoint("open"))

    def test_user_without_the_right_may_scale_and_label(self, cluster: Cluster) -> None:
        apply_as(cluster, "ann", WITH_SECRET)
        bob = ("-n", NAMESPACE, "--as", "bob")
        cluster.kubectl("scale", "mep", "guarded", "--replicas=2", *bob)
        cluster.kubectl("patch", "mep", "guarded", "--type=merge", "-p", '{"spec": {"replicas": 3}}', *bob)
        cluster.kubectl("annotate", "mep", "guarded", "modelendpoint.dev/promote=2", "--overwrite", *bob)

    def test_user_without_the_right_may_not_send_the_secret_elsewhere(self, cluster: Cluster) -> None:
        apply_as(cluster, "ann", WITH_SECRET)
        with pytest.raises(CommandFailed, match="bob may not get the Secret"):
            apply_as(cluster, "bob", ELSEWHERE)

    def test_user_without_the_right_may_not_add_the_secret_later(self, cluster: Cluster) -> None:
        apply_as(cluster, "bob", an_endpoint("later"))
        with pytest.raises(CommandFailed, match="bob may not get the Secret"):
            apply_as(cluster, "bob", WITH_SECRET.replace("guarded", "later"))

    @pytest.mark.parametrize("arms", ["variants", "shadows"])
    def test_user_without_the_right_may_not_give_the_secret_to_another_model(self, cluster: Cluster, arms: str) -> None:
        with_arm = {arms: [{"name": "b", **model("s3://m/k", credentialsSecretRef={"name": "models"})}]}
        with pytest.raises(
            CommandFailed, match=rf"spec.{arms}\[b\].model.credentialsSecretRef: bob may not get the Sec"
        ):
            apply_as(cluster, "bob", an_endpoint(f"with-{arms}", **with_arm))
        apply_as(cluster, "ann", an_endpoint(f"with-{arms}", **with_arm))
        # What was there before needs no right.
        apply_as(cluster, "bob", an_endpoint(f"with-{arms}", **with_arm, replicas=2, **model("s3://m/other")))

    def test_user_without_the_right_may_delete(self, cluster: Cluster) -> None:
        apply_as(cluster, "ann", WITH_SECRET)
        cluster.kubectl("delete", "mep", "guarded", "-n", NAMESPACE, "--as", "bob")

    def test_only_who_may_run_pods_or_make_tokens_may_name_a_service_account(self, cluster: Cluster) -> None:
        for user in ("ann", "bob"):
            with pytest.raises(CommandFailed) as failure:
                apply_as(cluster, user, WITH_ACCOUNT)
            said = str(failure.value)
            assert f"spec.model.serviceAccountName: {user} may neither create pods" in said
            assert "name another ServiceAccount or ask for one of these rights" in said
        for user in ("pod", "tok"):
            apply_as(cluster, user, WITH_ACCOUNT)
            cluster.kubectl("delete", "mep", "identified", "-n", NAMESPACE, "--as", user)

    def test_the_right_to_one_account_is_no_right_to_another(self, cluster: Cluster) -> None:
        with pytest.raises(CommandFailed, match="tok may neither create pods"):
            apply_as(cluster, "tok", WITH_ACCOUNT.replace('"models"', '"admin"').replace(": models", ": admin"))

    def test_a_right_to_the_account_is_none_to_the_secret(self, cluster: Cluster) -> None:
        with pytest.raises(CommandFailed, match="pod may not get the Secret"):
            apply_as(cluster, "pod", WITH_SECRET)

"""The objects of a revision. (Whole objects: the golden cases; agreement with the server: the contract tests.)"""

from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.manifests.model_server import build_model_server, build_revision_record
from modelendpoint_operator.observation import RevisionRecord

URI = "s3://models/churn.onnx"


def an_endpoint(**spec: Any) -> ModelEndpoint:
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"model": {"uri": URI}, **spec},
        }
    )


def a_record(endpoint: ModelEndpoint, *, sha256: str | None = None) -> RevisionRecord:
    template = RevisionTemplate.from_spec(endpoint.spec, server_image="server:1")
    return RevisionRecord(number=7, template=template, sha256=sha256)


def objects_of(
    *, sha256: str | None = None, replicas: int = 2, drain: int = 15, **spec: Any
) -> dict[str, dict[str, Any]]:
    endpoint = an_endpoint(**spec)
    manifests = build_model_server(
        endpoint,
        a_record(endpoint, sha256=sha256),
        replicas=replicas,
        image_pull_policy="IfNotPresent",
        drain_seconds=drain,
    )
    assert [manifest["kind"] for manifest in manifests] == ["ConfigMap", "Service", "PodDisruptionBudget", "Deployment"]
    return {manifest["kind"]: manifest for manifest in manifests}


def pod_of(**given: Any) -> dict[str, Any]:
    template: dict[str, Any] = objects_of(**given)["Deployment"]["spec"]["template"]
    return template


def test_all_objects_of_a_revision_have_its_name_and_labels() -> None:
    for manifest in objects_of().values():
        assert manifest["metadata"]["name"] == "churn-r7"
        assert manifest["metadata"]["labels"][names.LABEL_REVISION] == "7"


def test_the_service_has_an_address_for_each_ready_pod_of_the_revision_and_no_other() -> None:
    objects = objects_of()
    service, deployment = objects["Service"]["spec"], objects["Deployment"]["spec"]

    assert service["clusterIP"] == "None"
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert service["selector"][names.LABEL_REVISION] == "7"
    assert "publishNotReadyAddresses" not in service


def test_learning_the_digest_restarts_no_pod() -> None:
    before, after = objects_of(), objects_of(sha256="ab" * 32)

    assert before["Deployment"] == after["Deployment"]
    assert (before["ConfigMap"]["data"], after["ConfigMap"]["data"]) == ({"sha256": ""}, {"sha256": "ab" * 32})


@pytest.mark.parametrize(
    "change",
    [{"replicas": 9}, {"routing": {"timeoutSeconds": 5, "replicas": 7}}, {"rollout": {"strategy": "Replace"}}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_part_of_a_revision_restarts_no_pod(change: dict[str, Any]) -> None:
    endpoint, changed = an_endpoint(), an_endpoint(**change)
    record = a_record(endpoint)
    pods = [
        build_model_server(parent, record, replicas=count, image_pull_policy="Always", drain_seconds=15)[-1]["spec"]
        for parent, count in ((endpoint, 1), (changed, 5))
    ]

    assert pods[0]["template"] == pods[1]["template"]
    assert [pod["replicas"] for pod in pods] == [1, 5]


def test_the_pods_meet_the_restricted_standard_and_have_no_rights() -> None:
    pod = pod_of()["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert not {"serviceAccountName", "hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_a_pod_goes_on_serving_while_everybody_stops_sending() -> None:
    pod = pod_of(drain=15)["spec"]

    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert pod["terminationGracePeriodSeconds"] >= 15 + 600
    assert pod_of(drain=0)["spec"]["containers"][0]["lifecycle"] == {}


def test_an_update_of_the_pods_never_leaves_fewer_than_wanted() -> None:
    assert objects_of()["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize(
    ("model", "volumes"),
    [
        ({"uri": URI}, {}),
        ({"uri": URI, "credentialsSecretRef": {"name": "s"}}, {"credentials": "secret"}),
        ({"uri": "pvc://claim/a/b.onnx"}, {"model": "persistentVolumeClaim"}),
        ({"uri": "configmap://c/k"}, {"model": "configMap"}),
    ],
)
def test_only_what_the_model_needs_is_mounted(model: dict[str, Any], volumes: dict[str, str]) -> None:
    pod = pod_of(model=model)["spec"]
    sources = {volume["name"]: next(key for key in volume if key != "name") for volume in pod["volumes"]}

    assert sources == {"models": "emptyDir", "revision": "configMap", "monitoring": "configMap", **volumes}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == set(sources)


def test_a_pod_starts_without_its_secret_or_config_map_so_that_it_can_say_what_is_missing() -> None:
    model = {"uri": "configmap://c/k", "credentialsSecretRef": {"name": "s"}}
    for volume in pod_of(model=model)["spec"]["volumes"]:
        for source in ("configMap", "secret"):
            assert volume.get(source, {"optional": True})["optional"] is True


def test_resources_are_taken_over_as_they_were_written() -> None:
    resources = {"requests": {"cpu": "1000m"}, "limits": {"cpu": 2, "memory": "1.5Gi"}}
    (container,) = pod_of(server={"resources": resources})["spec"]["containers"]

    assert container["resources"] == {"requests": {"cpu": "1000m"}, "limits": {"cpu": "2", "memory": "1.5Gi"}}


def test_the_record_keeps_the_template_and_the_digest_that_was_learned_later() -> None:
    endpoint = an_endpoint()
    fresh = build_revision_record(endpoint, a_record(endpoint), data=None)
    learned = build_revision_record(endpoint, a_record(endpoint, sha256="ab" * 32), data=fresh["data"])

    assert (fresh["kind"], fresh["revision"]) == ("ControllerRevision", 7)
    assert RevisionTemplate.model_validate(fresh["data"]) == a_record(endpoint).template
    assert "annotations" not in fresh["metadata"]
    assert learned["metadata"]["annotations"] == {names.ANNOTATION_SHA256: "ab" * 32}
    assert learned["data"] == fresh["data"]


def test_what_is_stored_of_a_revision_stays_as_an_older_operator_wrote_it() -> None:
    stored = {"model": {"uri": URI}, "server": {}, "serverImage": "server:1"}

    assert build_revision_record(an_endpoint(), a_record(an_endpoint()), data=stored)["data"] == stored


def test_a_pod_runs_as_the_account_that_is_named_and_gets_no_token_of_the_api() -> None:
    pod = pod_of(model={"uri": URI, "serviceAccountName": "models"})

    assert pod["spec"]["serviceAccountName"] == "models"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert "azure.workload.identity/use" not in objects_of()["Deployment"]["spec"]["selector"]["matchLabels"]


def test_without_an_account_the_pod_asks_for_no_identity() -> None:
    pod = pod_of()

    assert "serviceAccountName" not in pod["spec"]
    assert "azure.workload.identity/use" not in pod["metadata"]["labels"]

"""The router's Kubernetes objects."""

import json
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.bootstrap import MAX_HEAP_BYTES
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.router import build_router
from modelendpoint_operator.observation import Leg
from modelendpoint_operator.settings import Settings


def an_endpoint(**routing: Any) -> ModelEndpoint:
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"model": {"uri": "s3://models/churn.onnx"}, "routing": routing},
        }
    )


def router_of(
    endpoint: ModelEndpoint,
    *shares: tuple[int, int],
    clusters: tuple[int, ...] = (7, 8),
    image: str = "registry.test/router:1",
) -> dict[str, dict[str, Any]]:
    legs = [Leg(revision=revision, weight=weight) for revision, weight in shares]
    documents = build_documents(endpoint, legs, clusters)
    manifests = build_router(endpoint, documents, settings=Settings(router_image=image))
    assert [manifest["kind"] for manifest in manifests] == ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget"]
    return {manifest["kind"]: manifest for manifest in manifests}


def pod_of(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    template: dict[str, Any] = manifests["Deployment"]["spec"]["template"]
    return template


def test_the_service_is_named_after_the_endpoint_and_leads_to_the_router() -> None:
    manifests = router_of(an_endpoint())

    service = manifests["Service"]
    assert service["metadata"]["name"] == "churn"
    (port,) = service["spec"]["ports"]
    assert (port["name"], port["port"]) == ("http", 80)
    (container,) = pod_of(manifests)["spec"]["containers"]
    assert {p["name"]: p["containerPort"] for p in container["ports"]}[port["targetPort"]] == names.ROUTER_PORT
    labels = pod_of(manifests)["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_with_tls_the_service_has_a_second_port_and_pods_mount_the_certificate() -> None:
    manifests = router_of(an_endpoint(tls={"secretRef": {"name": "churn-tls"}}))

    (container,) = pod_of(manifests)["spec"]["containers"]
    targets = {port["name"]: port["containerPort"] for port in container["ports"]}
    ports = {port["port"]: targets[port["targetPort"]] for port in manifests["Service"]["spec"]["ports"]}
    assert ports == {80: names.ROUTER_PORT, 443: names.ROUTER_TLS_PORT}
    (volume,) = (volume for volume in pod_of(manifests)["spec"]["volumes"] if "secret" in volume)
    items = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
    assert volume["secret"] == {"secretName": "churn-tls", "items": items, "optional": True}
    assert {"name": volume["name"], "mountPath": "/etc/modelendpoint/tls", "readOnly": True} in container[
        "volumeMounts"
    ]
    assert "ssl_context_update_by_sds" in container["startupProbe"]["exec"]["command"][-1]
    assert {"lds-tls.json", "sds.json"} <= manifests["ConfigMap"]["data"].keys()


def test_another_certificate_starts_no_new_pods() -> None:
    """The Secret's content is nowhere in the objects, and whether plain HTTP is answered only in the ConfigMap."""
    before = router_of(an_endpoint(tls={"secretRef": {"name": "churn-tls"}}))
    after = router_of(an_endpoint(tls={"secretRef": {"name": "churn-tls"}, "allowHttp": True}))

    assert before["Deployment"] == after["Deployment"]
    assert before["Service"] == after["Service"]


def test_the_config_map_holds_the_files_that_envoy_is_started_with() -> None:
    manifests = router_of(an_endpoint(), (8, 10), (7, 90))

    documents = build_documents(an_endpoint(), [Leg(revision=8, weight=10), Leg(revision=7, weight=90)], [7, 8])
    assert {file: json.loads(text) for file, text in manifests["ConfigMap"]["data"].items()} == documents
    (container,) = pod_of(manifests)["spec"]["containers"]
    (volume,) = pod_of(manifests)["spec"]["volumes"]
    (mount,) = container["volumeMounts"]
    assert volume["configMap"]["name"] == manifests["ConfigMap"]["metadata"]["name"] == "churn-router"
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/etc/envoy")
    assert "subPath" not in mount, "files of a sub path never change"
    assert container["args"][:2] == ["--config-path", "/etc/envoy/bootstrap.json"]


def test_weights_and_revisions_never_restart_the_router() -> None:
    before = router_of(an_endpoint(), (7, 100), clusters=(7,))
    after = router_of(an_endpoint(), (8, 10), (7, 90), clusters=(7, 8))

    assert before["Deployment"] == after["Deployment"]
    assert before["Service"] == after["Service"]
    assert before["ConfigMap"] != after["ConfigMap"]


def test_a_new_bootstrap_restarts_the_router(monkeypatch: Any) -> None:
    before = pod_of(router_of(an_endpoint()))
    monkeypatch.setattr("modelendpoint_operator.manifests.bootstrap.MAX_DOWNSTREAM_CONNECTIONS", 5)

    assert before["metadata"]["annotations"] != pod_of(router_of(an_endpoint()))["metadata"]["annotations"]


def test_the_pods_meet_the_restricted_standard_and_hold_no_credentials() -> None:
    pod = pod_of(router_of(an_endpoint()))["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert not {"serviceAccountName", "hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert "env" not in container


def test_envoy_refuses_work_before_the_kernel_ends_it() -> None:
    (container,) = pod_of(router_of(an_endpoint()))["spec"]["containers"]

    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert MAX_HEAP_BYTES <= 0.8 * 1024 * 1024 * 1024


def test_a_pod_may_take_as_long_to_end_as_its_slowest_request() -> None:
    pod = pod_of(router_of(an_endpoint(timeoutSeconds=300)))["spec"]

    assert pod["terminationGracePeriodSeconds"] == 15 + 300 + 10
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["bash", "-c"]
    assert {"PORT=9902", "DRAIN_SECONDS=15", "ACTIVE=http.endpoint.downstream_rq_active"} <= set(command[2].split("\n"))


def test_an_ending_pod_stays_ready_so_that_the_only_one_is_still_used() -> None:
    (container,) = pod_of(router_of(an_endpoint()))["spec"]["containers"]

    ready = container["readinessProbe"]["httpGet"]
    assert (ready["port"], ready["path"]) == ("status", "/stats?filter=server.live"), "/ready fails during a drain"
    assert container["startupProbe"]["tcpSocket"] == {"port": "http"}
    assert "livenessProbe" not in container


def test_the_router_never_has_fewer_pods_than_wanted_while_it_is_replaced() -> None:
    spec = router_of(an_endpoint(replicas=3))["Deployment"]["spec"]

    assert spec["replicas"] == 3
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_pods_run_on_one_node_too_but_rather_not() -> None:
    manifests = router_of(an_endpoint())
    pod = pod_of(manifests)["spec"]

    (constraint,) = pod["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert set(pod["affinity"]) == {"podAntiAffinity"}
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selector = manifests["Deployment"]["spec"]["selector"]
    assert term["podAffinityTerm"]["labelSelector"] == constraint["labelSelector"] == selector

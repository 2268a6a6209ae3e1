"""The chart renders what the operator needs, in every combination of its values, and refuses values that it doesn't know."""

from itertools import product
from typing import Any

import pytest
import yaml

from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.names import OPERATOR_PORT
from modelendpoint_operator.settings import Settings
from support.helm import CHART, NAMESPACE, Manifest, of_kind, render_chart, run_helm

EVERYTHING: Manifest = {
    "replicaCount": 2,
    "watchNamespaces": ["team-a", "team-b"],
    "logLevel": "debug",
    "logFormat": "text",
    "drainSeconds": 5,
    "gates": {"allowedHosts": ["judge.ml.svc", "*.example.com", "10.0.0.7:8443"]},
    "prometheus": {"address": "http://prometheus.monitoring.svc:9090/?namespace=$(NAMESPACE)"},
    "image": {"registry": "registry.example", "tag": "dev", "pullPolicy": "Never"},
    "server": {"image": {"digest": "sha256:" + "a" * 64}},
    "router": {"image": {"repository": "mirror/router", "tag": "9"}},
    "serviceAccount": {"annotations": {"example/role": "reader"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "grafanaDashboard": {"enabled": True, "annotations": {"grafana_folder": "Models"}},
    "podDisruptionBudget": {"enabled": True},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "platform"},
    "podAnnotations": {"note": "yes"},
    "extraEnv": [{"name": "MODELENDPOINT_OPERATOR_WORKERS", "value": "8"}],
}
SWITCHES = [
    ("crds", "enabled"),
    ("rbac", "create"),
    ("serviceAccount", "create"),
    ("admissionPolicy", "enabled"),
    ("serviceMonitor", "enabled"),
    ("networkPolicy", "enabled"),
]


def operator_pod(manifests: list[Manifest]) -> Manifest:
    (deployment,) = of_kind(manifests, "Deployment")
    pod: Manifest = deployment["spec"]["template"]["spec"]
    return pod


def environment(manifests: list[Manifest]) -> dict[str, str]:
    (container,) = operator_pod(manifests)["containers"]
    # As the kubelet does it: $(NAME) would be a variable's value, and $$ stands for $.
    return {entry["name"]: entry.get("value", "pod-name").replace("$$(", "$(") for entry in container["env"]}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_chart_passes_strict_lint(values: Manifest) -> None:
    done = run_helm(
        "lint", "--strict", str(CHART), "--kube-version", "1.30.0", "--values", "-", stdin=yaml.safe_dump(values)
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("states", list(product([True, False], repeat=len(SWITCHES))), ids=str)
def test_chart_renders_with_every_combination_of_switches(states: tuple[bool, ...]) -> None:
    values: Manifest = {}
    for (part, switch), state in zip(SWITCHES, states, strict=True):
        values.setdefault(part, {})[switch] = state
    manifests = render_chart(values)
    kinds = {manifest["kind"] for manifest in manifests}
    expected = {
        "CustomResourceDefinition": values["crds"]["enabled"],
        "ClusterRole": values["rbac"]["create"],
        "ServiceAccount": values["serviceAccount"]["create"],
        "ValidatingAdmissionPolicy": values["admissionPolicy"]["enabled"],
        "ServiceMonitor": values["serviceMonitor"]["enabled"],
        "NetworkPolicy": values["networkPolicy"]["enabled"],
        "Deployment": True,
        "Service": True,
    }
    assert {kind: kind in kinds for kind in expected} == expected
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "modelendpoint"


def test_the_crds_are_the_generated_ones() -> None:
    crds = of_kind(render_chart(), "CustomResourceDefinition")
    generated = [yaml.safe_load(path.read_text()) for path in sorted((CHART.parents[1] / "crds").glob("*.yaml"))]
    assert [crd["spec"] for crd in crds] == [crd["spec"] for crd in generated]
    for crd in crds:
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_crds_go_with_the_release_when_they_are_not_to_be_kept() -> None:
    for crd in of_kind(render_chart({"crds": {"keep": False}}), "CustomResourceDefinition"):
        assert "annotations" not in crd["metadata"]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_operator_understands_the_settings_that_the_chart_makes(values: Manifest) -> None:
    Settings.from_environment(environment(render_chart(values)))


def test_values_reach_the_operator() -> None:
    settings = Settings.from_environment(environment(render_chart(EVERYTHING)))
    assert settings.watch_namespaces == ("team-a", "team-b")
    assert settings.server_image == "ghcr.io/modelendpoint/server@sha256:" + "a" * 64
    assert settings.router_image == "ghcr.io/mirror/router:9"
    assert settings.image_pull_policy == "Never"
    assert settings.drain_seconds == 5
    assert settings.workers == 8
    assert (settings.log_level, settings.log_format) == ("debug", "text")
    assert settings.lease_namespace == NAMESPACE
    assert settings.gate_allowed_hosts == ("judge.ml.svc", "*.example.com", "10.0.0.7:8443")
    assert settings.prometheus_address == "http://prometheus.monitoring.svc:9090/?namespace=$(NAMESPACE)"


def test_the_kubelet_leaves_placeholders_of_the_prometheus_address_alone() -> None:
    (container,) = operator_pod(render_chart(EVERYTHING))["containers"]
    (entry,) = [entry for entry in container["env"] if entry["name"].endswith("PROMETHEUS_ADDRESS")]
    assert entry["value"].count("$(") == entry["value"].count("$$(") == 1


def test_defaults_of_the_chart_and_of_the_operator_are_the_same() -> None:
    given = Settings.from_environment(environment(render_chart())).model_dump()
    unset = Settings().model_dump()
    installation = {"lease_namespace", "lease_name", "identity"}
    assert {name: given[name] for name in given.keys() - installation} == {
        name: unset[name] for name in unset.keys() - installation
    }


def test_values_reach_the_pod() -> None:
    pod = operator_pod(render_chart(EVERYTHING))
    names = (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
        "imagePullSecrets",
    )
    for name in names:
        assert pod[name] == EVERYTHING[name]
    assert pod["containers"][0]["image"] == "registry.example/modelendpoint/operator:dev"


def test_pods_meet_the_restricted_pod_security_standard() -> None:
    manifests = render_chart()
    for pod in [operator_pod(manifests), *(manifest["spec"] for manifest in of_kind(manifests, "Pod"))]:
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(pod)
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_probes_ask_the_operators_port() -> None:
    (container,) = operator_pod(render_chart())["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": OPERATOR_PORT}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_the_service_selects_the_operators_pods_and_no_endpoints() -> None:
    manifests = render_chart()
    (service,) = of_kind(manifests, "Service")
    (deployment,) = of_kind(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    (test_pod,) = of_kind(manifests, "Pod")
    assert not service["spec"]["selector"].items() <= test_pod["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("modelendpoint", {}, "modelendpoint-operator"),
        ("prod", {}, "prod-modelendpoint-operator"),
        ("prod", {"fullnameOverride": "serving"}, "serving-operator"),
        ("x" * 53, {}, "x" * 50 + "-operator"),
    ],
)
def test_objects_are_named_after_the_release(release: str, values: Manifest, name: str) -> None:
    (deployment,) = of_kind(render_chart(values, release=release), "Deployment")
    assert deployment["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 2}, "replicas"),
        ({"image": {"version": "1"}}, "version"),
        ({"logLevel": "loud"}, "logLevel"),
        ({"watchNamespaces": "team-a"}, "watchNamespaces"),
        ({"watchNamespaces": ["*"]}, "watchNamespaces"),
        ({"drainSeconds": -1}, "drainSeconds"),
        ({"gates": {"allowedHosts": ["*"]}}, "allowedHosts"),
        ({"gates": {"allowedHosts": ["http://judge"]}}, "allowedHosts"),
        ({"prometheus": {"address": "prometheus:9090"}}, "address"),
        ({"podMonitor": {"interval": "often"}}, "interval"),
        ({"podMonitor": {"routerMetrics": []}}, "routerMetrics"),
        ({"prometheusRule": {"availabilityPercent": 100}}, "availabilityPercent"),
        ({"prometheusRule": {"latencyMilliseconds": 300}}, "latencyMilliseconds"),
        ({"prometheusRule": {"runbooks": "docs/runbooks"}}, "runbooks"),
        ({"server": {"image": {"digest": "latest"}}}, "digest"),
        ({"crds": {"enabled": "yes"}}, "enabled"),
        ({"rbac": {"namespaced": True}}, "namespaced"),
    ],
    ids=str,
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        render_chart(values)


def test_the_schema_of_the_values_knows_exactly_the_values() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == set(values) | {"global"}


def test_the_policies_guard_only_the_namespaces_that_are_watched() -> None:
    bindings = of_kind(render_chart({"watchNamespaces": ["team-a"]}), "ValidatingAdmissionPolicyBinding")
    assert len(bindings) == 6
    for binding in bindings:
        (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression["values"] == ["team-a"]
    for binding in of_kind(render_chart(), "ValidatingAdmissionPolicyBinding"):
        assert "matchResources" not in binding["spec"]


def test_the_runs_that_the_operator_makes_of_a_schedule_are_not_asked_for_rights_again() -> None:
    manifests = render_chart({"serviceAccount": {"name": "operator"}})
    (policy,) = (
        one for one in of_kind(manifests, "ValidatingAdmissionPolicy") if one["metadata"]["name"].endswith("-batch")
    )
    exempt = policy["spec"]["matchConditions"][0]["expression"]
    assert exempt == f"request.userInfo.username != 'system:serviceaccount:{NAMESPACE}:operator'"


def test_the_endpoint_in_the_notes_after_an_installation_is_valid() -> None:
    notes = (CHART / "templates/NOTES.txt").read_text()
    endpoint = yaml.safe_load(notes.split("<<'END'\n")[1].split("   END\n")[0])
    ModelEndpointSpec.model_validate(endpoint["spec"])

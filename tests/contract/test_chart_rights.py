"""The chart gives the operator exactly the rights that its adapters declare: in a cluster, and in named namespaces."""

import pytest

from modelendpoint_operator.adapters.rights import LEASE_RIGHTS, RIGHTS, Right
from support.helm import NAMESPACE, Manifest, of_kind, render_chart

NAMESPACES = ["team-a", "team-b"]
WHOLE_CLUSTER = render_chart()
SOME_NAMESPACES = render_chart({"watchNamespaces": NAMESPACES})


def pairs(rules: list[Manifest]) -> set[tuple[str, str, str]]:
    """Flatten RBAC rules to (group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def declared(rights: tuple[Right, ...]) -> set[tuple[str, str, str]]:
    return {(right.group, right.resource, verb) for right in rights for verb in right.verbs}


def named(manifests: list[Manifest], kind: str, name: str) -> list[Manifest]:
    return [manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"] == name]


def test_in_the_whole_cluster_the_operator_has_the_declared_rights() -> None:
    (role,) = named(WHOLE_CLUSTER, "ClusterRole", "modelendpoint-operator")
    assert pairs(role["rules"]) == declared(RIGHTS)


def test_in_named_namespaces_the_operator_has_the_declared_rights_there_only() -> None:
    roles = named(SOME_NAMESPACES, "Role", "modelendpoint-operator")
    assert [role["metadata"]["namespace"] for role in roles] == NAMESPACES
    for role in roles:
        assert pairs(role["rules"]) == declared(RIGHTS)
    assert not named(SOME_NAMESPACES, "ClusterRole", "modelendpoint-operator")
    assert not of_kind(SOME_NAMESPACES, "ClusterRoleBinding")


@pytest.mark.parametrize("manifests", [WHOLE_CLUSTER, SOME_NAMESPACES], ids=["cluster", "namespaces"])
def test_the_lease_is_in_the_operators_own_namespace_and_bound_to_its_name(manifests: list[Manifest]) -> None:
    (role,) = named(manifests, "Role", "modelendpoint-operator-lease")
    assert role["metadata"]["namespace"] == NAMESPACE
    assert pairs(role["rules"]) == declared(LEASE_RIGHTS)
    for rule in role["rules"]:
        assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["modelendpoint-operator"]


@pytest.mark.parametrize("manifests", [WHOLE_CLUSTER, SOME_NAMESPACES], ids=["cluster", "namespaces"])
def test_every_binding_is_for_the_operators_account_and_a_role_of_the_chart(manifests: list[Manifest]) -> None:
    bindings = of_kind(manifests, "ClusterRoleBinding") + of_kind(manifests, "RoleBinding")
    assert bindings
    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "modelendpoint-operator", "namespace": NAMESPACE}
        ]
        assert named(manifests, binding["roleRef"]["kind"], binding["roleRef"]["name"])


@pytest.mark.parametrize("manifests", [WHOLE_CLUSTER, SOME_NAMESPACES], ids=["cluster", "namespaces"])
def test_no_role_has_a_wildcard(manifests: list[Manifest]) -> None:
    for role in of_kind(manifests, "ClusterRole") + of_kind(manifests, "Role"):
        assert "*" not in {part for pair in pairs(role["rules"]) for part in pair}


FORBIDDEN_RESOURCES = [
    "secrets",
    "serviceaccounts",
    "serviceaccounts/token",
    "nodes",
    "nodes/proxy",
    "namespaces",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "pods/ephemeralcontainers",
    "pods/log",
    "services/proxy",
    "pods/proxy",
    "persistentvolumes",
    "persistentvolumeclaims",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "customresourcedefinitions",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "certificatesigningrequests",
    "apiservices",
    "daemonsets",
    "statefulsets",
    "replicasets",
    "networkpolicies",
    "storageclasses",
    "priorityclasses",
    "tokenreviews",
    "subjectaccessreviews",
]
FORBIDDEN_VERBS = ["escalate", "bind", "impersonate", "approve", "sign", "deletecollection", "proxy", "use"]


def granted(manifests: list[Manifest]) -> set[tuple[str, str, str]]:
    """Collect every right of the operator's account (not the roles that are aggregated for people)."""
    roles = of_kind(manifests, "ClusterRole") + of_kind(manifests, "Role")
    return {
        pair
        for role in roles
        if not any("aggregate-to" in label for label in role["metadata"]["labels"])
        for pair in pairs(role["rules"])
    }


@pytest.mark.parametrize("resource", FORBIDDEN_RESOURCES)
def test_the_operator_has_no_right_on(resource: str) -> None:
    for manifests in (WHOLE_CLUSTER, SOME_NAMESPACES):
        assert not [pair for pair in granted(manifests) if pair[1] == resource]


@pytest.mark.parametrize("verb", FORBIDDEN_VERBS)
def test_the_operator_may_never(verb: str) -> None:
    for manifests in (WHOLE_CLUSTER, SOME_NAMESPACES):
        assert not [pair for pair in granted(manifests) if pair[2] == verb]


def test_the_operator_never_writes_what_users_wrote() -> None:
    for manifests in (WHOLE_CLUSTER, SOME_NAMESPACES):
        verbs = {verb for _, resource, verb in granted(manifests) if resource == "modelendpoints"}
        assert verbs == {"get", "list", "watch"}
        # It creates the runs of schedules and of replay gates, and deletes old ones; it changes none.
        verbs = {verb for _, resource, verb in granted(manifests) if resource == "batchpredictions"}
        assert verbs == {"get", "list", "watch", "create", "delete"}


def test_nobody_but_the_operator_writes_status() -> None:
    roles = of_kind(WHOLE_CLUSTER, "ClusterRole")
    for role in roles:
        if role["metadata"]["name"] != "modelendpoint-operator":
            assert {verb for _, resource, verb in pairs(role["rules"]) if resource.endswith("/status")} == {"get"}


def test_viewers_and_editors_of_a_namespace_may_do_the_same_to_its_endpoints() -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(WHOLE_CLUSTER, "ClusterRole")}
    view, edit = roles["modelendpoint-view"], roles["modelendpoint-edit"]
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert {pair[2] for pair in pairs(view["rules"])} == {"get", "list", "watch"}
    assert ("modelendpoint.dev", "modelendpoints", "create") in pairs(edit["rules"])
    assert ("modelendpoint.dev", "batchpredictions", "create") in pairs(edit["rules"])
    assert ("modelendpoint.dev", "batchpredictions", "get") in pairs(view["rules"])
    assert ("modelendpoint.dev", "modelendpoints/scale", "patch") in pairs(edit["rules"])

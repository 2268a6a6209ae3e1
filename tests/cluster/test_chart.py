"""The chart on a real API server: it installs, upgrades and goes, and its accounts may do what they should and no more."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from modelendpoint_operator.adapters.rights import RIGHTS
from modelendpoint_operator.names import GROUP, PLURAL
from support.cluster import Cluster
from support.helm import CHART

pytestmark = pytest.mark.cluster

# No pods: these tests are about rights. And nothing that only one release in a cluster can have.
VALUES = ("--set", "replicaCount=0,crds.enabled=false,admissionPolicy.enabled=false")
ELSEWHERE = "kube-system"


@pytest.fixture
def home(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The namespace and name of a release; the release is gone afterwards."""
    yield namespace
    cluster.helm("uninstall", namespace, "--namespace", namespace, "--ignore-not-found")


def install(cluster: Cluster, home: str, *values: str) -> str:
    arguments = ("upgrade", "--install", home, str(CHART), "--namespace", home, *VALUES, *values)
    return cluster.helm(*arguments)


@dataclass(frozen=True)
class Deed:
    """A verb on one kind of objects, or on one object; a subresource is written as ``pods/exec``."""

    verb: str
    resource: str
    group: str = ""
    name: str = ""


def allowed(cluster: Cluster, user: str, deeds: Iterable[Deed], namespace: str) -> set[Deed]:
    """Ask the API server which of these deeds a user may do in a namespace."""
    deeds = list(deeds)
    reviews = [_review(user, deed, namespace) for deed in deeds]
    request = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    answers = cluster.kubectl("create", "-f", "-", "-o", 'jsonpath={.status.allowed}{"\\n"}', stdin=request).split()
    return {deed for deed, answer in zip(deeds, answers, strict=True) if answer == "true"}


def _review(user: str, deed: Deed, namespace: str) -> dict[str, Any]:
    resource, _, subresource = deed.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": deed.verb,
        "group": deed.group,
        "resource": resource,
        "subresource": subresource,
        "name": deed.name,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes},
    }


def account(home: str) -> str:
    return f"system:serviceaccount:{home}:{home}-modelendpoint-operator"


DECLARED = {Deed(verb, right.resource, right.group) for right in RIGHTS for verb in right.verbs}
REFUSED = {
    Deed("get", "secrets"),
    Deed("list", "secrets"),
    Deed("create", "secrets"),
    Deed("get", "serviceaccounts"),
    Deed("create", "serviceaccounts/token"),
    Deed("create", "pods"),
    Deed("delete", "pods"),
    Deed("create", "pods/exec"),
    Deed("get", "pods/log"),
    Deed("create", "pods/portforward"),
    Deed("create", "pods/ephemeralcontainers"),
    Deed("get", "nodes"),
    Deed("get", "nodes/proxy"),
    Deed("get", "namespaces"),
    Deed("delete", "namespaces"),
    Deed("get", "services/proxy"),
    Deed("get", "persistentvolumeclaims"),
    Deed("create", "cronjobs", "batch"),
    Deed("create", "statefulsets", "apps"),
    Deed("create", "daemonsets", "apps"),
    Deed("update", "deployments", "apps"),
    Deed("deletecollection", "deployments", "apps"),
    Deed("create", "roles", "rbac.authorization.k8s.io"),
    Deed("create", "rolebindings", "rbac.authorization.k8s.io"),
    Deed("escalate", "roles", "rbac.authorization.k8s.io"),
    Deed("bind", "clusterroles", "rbac.authorization.k8s.io"),
    Deed("create", "clusterrolebindings", "rbac.authorization.k8s.io"),
    Deed("impersonate", "users"),
    Deed("impersonate", "serviceaccounts"),
    Deed("patch", "customresourcedefinitions", "apiextensions.k8s.io"),
    Deed("create", "validatingwebhookconfigurations", "admissionregistration.k8s.io"),
    Deed("delete", "validatingadmissionpolicies", "admissionregistration.k8s.io"),
    Deed("create", "certificatesigningrequests", "certificates.k8s.io"),
    Deed("create", "networkpolicies", "networking.k8s.io"),
    Deed("create", "ingresses", "networking.k8s.io"),
    Deed("create", "modelendpoints", "modelendpoint.dev"),
    Deed("update", "modelendpoints", "modelendpoint.dev"),
    Deed("patch", "modelendpoints", "modelendpoint.dev"),
    Deed("delete", "modelendpoints", "modelendpoint.dev"),
    Deed("patch", "modelendpoints/scale", "modelendpoint.dev"),
    Deed("create", "subjectaccessreviews", "authorization.k8s.io"),
    Deed("create", "tokenreviews", "authentication.k8s.io"),
}


def test_operator_of_some_namespaces_has_its_rights_there_and_none_elsewhere(cluster: Cluster, home: str) -> None:
    install(cluster, home, "--set", f"watchNamespaces={{{home}}}")
    assert allowed(cluster, account(home), DECLARED | REFUSED, home) == DECLARED
    assert allowed(cluster, account(home), DECLARED | REFUSED, ELSEWHERE) == set()


def test_operator_of_the_whole_cluster_has_its_rights_everywhere(cluster: Cluster, home: str) -> None:
    install(cluster, home)
    for namespace in (home, ELSEWHERE):
        assert allowed(cluster, account(home), DECLARED | REFUSED, namespace) == DECLARED


def test_operator_may_write_its_own_lease_and_no_other(cluster: Cluster, home: str) -> None:
    install(cluster, home)
    group, own = "coordination.k8s.io", f"{home}-modelendpoint-operator"
    asked = {
        Deed("create", "leases", group),
        Deed("get", "leases", group, own),
        Deed("update", "leases", group, own),
        Deed("delete", "leases", group, own),
        Deed("list", "leases", group),
        Deed("update", "leases", group, "another"),
    }
    assert allowed(cluster, account(home), asked, home) == {
        Deed("create", "leases", group),
        Deed("get", "leases", group, own),
        Deed("update", "leases", group, own),
    }
    assert allowed(cluster, account(home), asked, ELSEWHERE) == set()


def test_an_upgrade_from_all_to_some_namespaces_takes_the_other_rights_away(cluster: Cluster, home: str) -> None:
    install(cluster, home)
    assert allowed(cluster, account(home), DECLARED, ELSEWHERE) == DECLARED
    install(cluster, home, "--set", f"watchNamespaces={{{home}}}")
    assert allowed(cluster, account(home), DECLARED, home) == DECLARED
    assert allowed(cluster, account(home), DECLARED, ELSEWHERE) == set()


LOOK = {Deed(verb, PLURAL, GROUP) for verb in ("get", "list", "watch")}
CHANGE = {Deed(verb, PLURAL, GROUP) for verb in ("create", "update", "patch", "delete", "deletecollection")}
CHANGE |= {Deed(verb, f"{PLURAL}/scale", GROUP) for verb in ("update", "patch")}
WRITE_STATUS = {Deed(verb, f"{PLURAL}/status", GROUP) for verb in ("update", "patch")}


@pytest.mark.parametrize(
    ("role", "deeds"),
    [("view", LOOK), ("edit", LOOK | CHANGE), ("admin", LOOK | CHANGE)],
    ids=["view", "edit", "admin"],
)
def test_the_clusters_own_roles_include_endpoints(cluster: Cluster, home: str, role: str, deeds: set[Deed]) -> None:
    install(cluster, home)
    cluster.kubectl("create", "rolebinding", role, "-n", home, f"--clusterrole={role}", "--user=ann")
    deadline = time.monotonic() + 30  # the controller manager adds the rules to the cluster's roles
    while (found := allowed(cluster, "ann", LOOK | CHANGE | WRITE_STATUS, home)) != deeds:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_the_operators_pods_are_admitted_where_the_restricted_standard_is_enforced(cluster: Cluster, home: str) -> None:
    cluster.kubectl("label", "namespace", home, "pod-security.kubernetes.io/enforce=restricted")
    install(cluster, home)
    deployment = cluster.get("deployment", f"{home}-modelendpoint-operator", namespace=home)
    template = deployment["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
    cluster.kubectl("create", "-n", home, "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_uninstall_leaves_nothing_of_the_release(cluster: Cluster, home: str) -> None:
    install(cluster, home)
    cluster.helm("uninstall", home, "--namespace", home, "--wait")
    selector = f"app.kubernetes.io/instance={home}"
    kinds = "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
    assert not cluster.get(kinds, namespace=home, selector=selector)

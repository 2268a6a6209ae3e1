"""The API server over the official client's transport: plain dicts in and out, our own errors.

The client's models are left out on purpose: they refuse fields that they do not know, and double the memory.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from modelendpoint_operator import names
from modelendpoint_operator.errors import ClusterUnavailable, NamespaceEnding, WriteRefused

TIMEOUT_SECONDS = (5.0, 15.0)
"""To connect, and to wait for an answer."""

CONNECTIONS = 32
"""Connections that are kept open; each worker lists several kinds at once."""

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """Where objects of a kind live."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, *, subresource: str | None = None) -> str:
        """Build the path of an object, or without a name that of all objects of the kind."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [root, *(["namespaces", namespace] if namespace else []), self.plural, name, subresource]
        return "/".join(part for part in parts if part)


ENDPOINTS = Resource(api_version=names.API_VERSION, kind=names.KIND, plural=names.PLURAL)
BATCH_PREDICTIONS = Resource(api_version=names.API_VERSION, kind=names.BATCH_KIND, plural=names.BATCH_PLURAL)
DEPLOYMENTS = Resource(api_version="apps/v1", kind="Deployment", plural="deployments")
REVISIONS = Resource(api_version="apps/v1", kind="ControllerRevision", plural="controllerrevisions")
SERVICES = Resource(api_version="v1", kind="Service", plural="services")
CONFIG_MAPS = Resource(api_version="v1", kind="ConfigMap", plural="configmaps")
PODS = Resource(api_version="v1", kind="Pod", plural="pods")
DISRUPTION_BUDGETS = Resource(api_version="policy/v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets")
AUTOSCALERS = Resource(api_version="autoscaling/v2", kind="HorizontalPodAutoscaler", plural="horizontalpodautoscalers")
INGRESSES = Resource(api_version="networking.k8s.io/v1", kind="Ingress", plural="ingresses")
HTTP_ROUTES = Resource(api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute", plural="httproutes")
JOBS = Resource(api_version="batch/v1", kind="Job", plural="jobs")
EVENTS = Resource(api_version="events.k8s.io/v1", kind="Event", plural="events")
LEASES = Resource(api_version="coordination.k8s.io/v1", kind="Lease", plural="leases")

CHILDREN = (REVISIONS, CONFIG_MAPS, SERVICES, DEPLOYMENTS)
"""Kinds of the objects that every endpoint owns and that requests depend on: they are watched, too."""

COMPANIONS = (DISRUPTION_BUDGETS,)
"""Kinds that no request depends on. They are looked at in every pass and not watched: what happens to them by hand is
put right by the next resync."""

ON_DEMAND = (AUTOSCALERS, INGRESSES, HTTP_ROUTES, BATCH_PREDICTIONS)
"""Kinds that an endpoint has only while its spec asks for them; else they are looked at only while its spec is new, when
one may have to go. They are not watched either, but for BatchPredictions, which are watched for their own sake."""


def connect() -> ApiClient:
    """Connect as the pod's ServiceAccount, or outside a cluster as the user's kubeconfig says."""
    try:
        load_incluster_config()  # type: ignore[no-untyped-call]
    except ConfigException:
        load_kube_config()  # type: ignore[no-untyped-call]
    configuration = Configuration.get_default_copy()
    configuration.connection_pool_maxsize = CONNECTIONS
    # The queue tries again; here it would only hold a worker, for several times the timeout.
    configuration.retries = False
    return ApiClient(configuration)


class ApiServer:
    """Reads and writes objects. One for the whole process: connections are kept and shared by all threads."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Read an object; None when there is none of that name."""
        status, body = self._request("GET", resource.path(namespace, name))
        return None if status == 404 else _expect(status, body, f"{resource.kind} {name}")

    def list_if_known(self, resource: Resource, namespace: str, *, labels: str) -> list[Object] | None:
        """Read all objects of a kind that carry the labels; None when the API server knows no such kind."""
        status, body = self._request("GET", resource.path(namespace), query={"labelSelector": labels})
        return None if status == 404 else _items(resource, _expect(status, body, resource.plural))

    def list(self, resource: Resource, namespace: str | None, *, labels: str = "") -> list[Object]:
        """Read all objects of a kind that carry the labels, in one namespace or in all."""
        query = {"labelSelector": labels} if labels else {}
        status, body = self._request("GET", resource.path(namespace), query=query)
        return _items(resource, _expect(status, body, resource.plural))

    def apply(self, resource: Resource, manifest: Mapping[str, Any], *, subresource: str | None = None) -> Object:
        """Write by server-side apply. With a ``uid`` in the metadata only the object of that identity is changed."""
        metadata = manifest["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], subresource=subresource)
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        status, body = self._request(
            "PATCH", path, query=query, body=manifest, content_type="application/apply-patch+yaml"
        )
        return _expect(status, body, f"{resource.kind} {metadata['name']}")

    def annotate(self, resource: Resource, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of an object that is not ours to apply; one that is gone needs none."""
        self.merge(resource, namespace, name, {"metadata": {"annotations": dict(annotations)}})

    def merge(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """Change some fields of an object and leave the others as they are; one that is gone needs no change."""
        path = resource.path(namespace, name)
        status, body = self._request("PATCH", path, body=patch, content_type="application/merge-patch+json")
        if status != 404:
            _expect(status, body, f"{resource.kind} {name}")

    def create(self, resource: Resource, namespace: str, manifest: Mapping[str, Any]) -> Object | None:
        """Create an object; None when there is one of that name."""
        status, body = self._request("POST", resource.path(namespace), body=manifest)
        return None if status == 409 else _expect(status, body, resource.kind)

    def replace(self, resource: Resource, manifest: Mapping[str, Any]) -> Object | None:
        """Replace an object that nobody changed since it was read; None when somebody did."""
        metadata = manifest["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        status, body = self._request("PUT", path, body=manifest)
        return None if status == 409 else _expect(status, body, f"{resource.kind} {metadata['name']}")

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that identity; another one of the same name is left alone."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        status, body = self._request("DELETE", resource.path(namespace, name), body=options)
        if status not in (404, 409):
            _expect(status, body, f"{resource.kind} {name}")

    def is_ending(self, namespace: str) -> bool:
        """Ask whether a namespace is being deleted, without the right to read it: by what a trial creation is refused for."""
        trial = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "trial-"}}
        status, body = self._request("POST", JOBS.path(namespace), query={"dryRun": "All"}, body=trial)
        return status == 403 and _says_that_the_namespace_ends(body)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if body is not None else {})
        request = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=dict(body) if body is not None else None,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            raw = response.read()  # type: ignore[no-untyped-call]
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise ClusterUnavailable(f"{method} {path}: {error}") from error
        try:
            return response.status, json.loads(raw)
        except ValueError:
            return response.status, {"message": raw.decode(errors="replace")[:500]}


def _items(resource: Resource, body: Object) -> list[Object]:
    # Items of a list carry neither of the two.
    return [{**item, "apiVersion": resource.api_version, "kind": resource.kind} for item in body["items"]]


def _expect(status: int, body: Any, subject: str) -> Object:
    """Hand back a good answer; raise ours for a bad one."""
    if 200 <= status < 300:
        return dict(body)
    message = str(body.get("message", "")) if isinstance(body, Mapping) else str(body)
    if _says_that_the_namespace_ends(body):
        raise NamespaceEnding(message)
    if status in (400, 403, 422):
        raise WriteRefused(subject, message)
    raise ClusterUnavailable(f"{subject}: {status} {message}")


def _says_that_the_namespace_ends(body: Any) -> bool:
    details = body.get("details") if isinstance(body, Mapping) else None
    causes = (details or {}).get("causes") or []
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)

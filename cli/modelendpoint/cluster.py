"""Endpoints and batch predictions in a cluster, as the user's kubeconfig reaches it: the API server is all that is spoken to.

Predictions and logs go through it too, so that nothing has to be forwarded or exposed for them.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.config import ConfigException, list_kube_config_contexts, new_client_from_config

from modelendpoint.endpoints import Answer, Seen, find
from modelendpoint.errors import CliError
from modelendpoint.orders import Given
from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import (
    BATCH_PREDICTIONS,
    ENDPOINTS,
    EVENTS,
    PODS,
    ApiServer,
    Resource,
)
from modelendpoint_operator.errors import ClusterUnavailable, WriteRefused

ANSWER_SECONDS = 70.0
_CONNECT_SECONDS = 5.0
_NEW_PODS_SECONDS = 2.0


class ClusterEndpoints:
    """The endpoints of one namespace."""

    def __init__(self, client: ApiClient, *, namespace: str) -> None:
        self._client = client
        self._server = ApiServer(client)
        self.namespace = namespace

    @classmethod
    def connect(cls, *, kubeconfig: Path | None, context: str | None, namespace: str | None) -> "ClusterEndpoints":
        """Use a kubeconfig as kubectl does; raise ``CliError`` when there is none, or not that context."""
        file = str(kubeconfig) if kubeconfig else None
        try:
            known, current = list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
            chosen = next((one for one in known if one["name"] == context), current) if context else current
            client = new_client_from_config(config_file=file, context=context)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise CliError(
                f"No cluster can be reached: {str(error).rstrip('.')}. Set KUBECONFIG, or choose with --kubeconfig and --context."
            ) from error
        client.configuration.retries = False
        return cls(client, namespace=namespace or chosen["context"].get("namespace") or "default")

    def endpoints(self) -> list[Seen]:
        """Read all endpoints of the namespace."""
        return [{"object": body, "url": body.get("status", {}).get("url") or ""} for body in self._list(ENDPOINTS)]

    def batches(self) -> list[Seen]:
        """Read all batch predictions of the namespace."""
        return [{"object": body} for body in self._list(BATCH_PREDICTIONS)]

    def events(self, kind: str, name: str) -> list[Mapping[str, Any]]:
        """Read the Events about an object, the latest last."""
        found = [event for event in self._list(EVENTS) if _is_about(event, kind, name)]
        return [
            {"id": f"{event['metadata']['uid']}/{_times(event)}", "message": event.get("note", "")}
            for event in sorted(found, key=_last_time)
        ]

    def annotate(self, seen: Seen, order: Given) -> None:
        """Set the annotation that gives an order."""
        kind, name = str(seen["object"]["kind"]), str(seen["object"]["metadata"]["name"])
        resource = BATCH_PREDICTIONS if kind == names.BATCH_KIND else ENDPOINTS
        with self._said("patch", f"{kind.lower()} {name}"):
            self._server.annotate(resource, self.namespace, name, {order.annotation: order.value})

    def post(self, seen: Seen, body: bytes, *, content_type: str) -> Answer:
        """Send rows through the API server's proxy to the endpoint's Service."""
        name = seen["object"]["metadata"]["name"]
        is_tls = str(seen["url"]).startswith("https:")
        service = f"https:{name}:{names.SERVICE_TLS_PORT}" if is_tls else f"http:{name}:{names.SERVICE_PORT}"
        path = f"/api/v1/namespaces/{self.namespace}/services/{service}/proxy/predict"
        with self._open("POST", path, body=body, headers={"Content-Type": content_type}) as response:
            answer = Answer(status=response.status, headers=dict(response.headers), body=response.read())
        if "x-request-id" not in {key.lower() for key in answer.headers} and answer.status >= 400:
            # Not the endpoint has said this: the API server has.
            raise CliError(f"The API server does not pass the request on: {_words(answer.body)}")
        return answer

    def log_lines(
        self, name: str | None, *, revision: int | None, only_router: bool, follow: bool
    ) -> Iterator[tuple[str, str]]:
        """Yield what the pods of an endpoint or a batch prediction have logged; later ones too, if it is followed."""
        body = find(self, name)["object"]
        label = names.LABEL_BATCH if body["kind"] == names.BATCH_KIND else names.LABEL_ENDPOINT
        labels = [f"{label}={body['metadata']['name']}"]
        labels += [f"{names.LABEL_REVISION}={revision}"] if revision is not None else []
        labels += [f"{names.LABEL_COMPONENT}={names.COMPONENT_ROUTER}"] if only_router else []
        if follow:
            yield from self._follow(labels)
            return
        for pod in self._pods(labels):
            yield from ((pod, line) for line in self._log(pod, follow=False))

    def _follow(self, labels: Sequence[str]) -> Iterator[tuple[str, str]]:
        lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

        def read(pod: str) -> None:
            # A pod that ends takes its log along; its last lines are what could be had.
            with contextlib.suppress(CliError, urllib3.exceptions.HTTPError, OSError):
                for line in self._log(pod, follow=True):
                    lines.put((pod, line))

        known: set[str] = set()
        while True:
            for pod in set(self._pods(labels)) - known:
                known.add(pod)
                threading.Thread(target=read, args=(pod,), daemon=True).start()
            with contextlib.suppress(queue.Empty):
                while True:
                    yield lines.get(timeout=_NEW_PODS_SECONDS)

    def _pods(self, labels: Sequence[str]) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self._list(PODS, labels=",".join(labels)))

    def _log(self, pod: str, *, follow: bool) -> Iterator[str]:
        query = "?follow=true" if follow else ""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log{query}"
        with self._open("GET", path, read_seconds=None if follow else ANSWER_SECONDS) as response:
            if response.status != 200:
                raise CliError(f"The log of {pod} can't be read: {_words(response.read())}")
            left = b""
            for chunk in response.stream(65_536):
                *whole, left = (left + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if left:
                yield left.decode(errors="replace")

    def _list(self, resource: Resource, *, labels: str = "") -> list[dict[str, Any]]:
        with self._said("list", resource.plural):
            return self._server.list(resource, self.namespace, labels=labels)

    @contextlib.contextmanager
    def _said(self, verb: str, subject: str) -> Iterator[None]:
        """Turn what the API server says into a sentence for people."""
        try:
            yield
        except WriteRefused as error:
            raise CliError(f"The API server refuses to {verb} {subject}: {error}") from error
        except ClusterUnavailable as error:
            if "404" in str(error):
                raise CliError(
                    "ModelEndpoint is not installed in this cluster. Install its chart, or choose another one: --context NAME"
                ) from error
            raise CliError(f"The API server at {self._client.configuration.host} does not answer: {error}") from error

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = ANSWER_SECONDS,
    ) -> Iterator[Any]:
        """Ask the API server for something that is not one of its objects."""
        sent = dict(headers or {})
        self._client.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        try:
            response = self._client.rest_client.pool_manager.request(
                method,
                self._client.configuration.host + path,
                body=body,
                headers=sent,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds),
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise CliError(f"The API server at {self._client.configuration.host} does not answer: {error}") from error
        try:
            yield response
        finally:
            response.release_conn()


def _is_about(event: Mapping[str, Any], kind: str, name: str) -> bool:
    regarding = event.get("regarding") or {}
    return regarding.get("kind") == kind and regarding.get("name") == name


def _times(event: Mapping[str, Any]) -> int:
    return int((event.get("series") or {}).get("count") or event.get("deprecatedCount") or 1)


def _last_time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500]

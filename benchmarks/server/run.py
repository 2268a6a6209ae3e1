"""Compare this server with its peers: same machine, same minutes, same models, same payloads.

    .venv/bin/python benchmarks/server/run.py [--rounds 5] [--seconds 2] [--payloads row image] [--only NAME …] [--out FILE]

Each round starts every server in turn, so that a slow minute of the machine hits all alike; figures are medians over
the rounds, and ratios are medians of the rounds' ratios. Needs ``wrk`` (Debian package) and two cores; makes
everything else itself, in the cache folder. Takes about three minutes a round.
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
import models
import numpy as np
import onnxruntime
from environments import cache_folder, ensure_environment
from servers import SERVERS, Server

_OURS, _CEILING = "modelendpoint", "granian answering ok"
_GOALS = {
    ("MLServer", "row"): 10,
    ("KServe V1", "row"): 10,
    ("KServe V2", "row"): 10,
    ("PyTriton", "row"): 7,
    ("LitServe", "row"): 20,
    ("BentoML", "row"): 30,
    ("Starlette + uvicorn", "row"): 1.8,
    (_CEILING, "row"): 0.75,
    ("MLServer", "rows"): 4,
    ("MLServer", "image"): 2.3,
    ("PyTriton", "bytes"): 2,
}
"""How many times as fast as a peer we want to be; for the ceiling, which part of it we want to reach."""


@dataclasses.dataclass
class Cell:
    """All rounds of one server, payload and number of connections."""

    windows: list[measure.Figures] = dataclasses.field(default_factory=list)

    def median(self, field: str) -> float:
        """Return the median of a figure."""
        return statistics.median(getattr(window, field) for window in self.windows)


class Benchmark:
    """All servers, all payloads, all rounds."""

    def __init__(self, servers: list[Server], *, seconds: int, payloads: list[str]) -> None:
        self.servers = servers
        self.groups = [group for group in (("row", "rows"), ("image", "bytes")) if set(group) & set(payloads)]
        self.seconds = seconds
        self.cells: dict[tuple[str, str, int], Cell] = {}
        self.start: dict[str, list[float]] = {}
        self.memory: dict[str, list[float]] = {}
        self.floor: dict[str, float] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="server-benchmark-"))
        models.main(self.folder)
        random = np.random.default_rng(4)
        self.inputs = {
            "row": random.normal(size=(1, models.FEATURES)).astype(np.float32).round(5),
            "rows": random.normal(size=(100, models.FEATURES)).astype(np.float32).round(5),
            "image": random.uniform(size=(1, *models.IMAGE)).astype(np.float32).round(5),
        }
        self.inputs["bytes"] = self.inputs["image"]
        self.expected = {payload: self._run(payload) for payload in self.inputs}
        self.port = 18_000

    def model(self, payload: str) -> Path:
        """Return the model that a payload is for."""
        return self.folder / ("lr.onnx" if payload in ("row", "rows") else "cnn.onnx")

    def _run(self, payload: str) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(self.model(payload)))
        return session.run(None, {"x": self.inputs[payload]})[0]

    def round(self, number: int) -> None:
        """Measure every server once."""
        for server in self.servers:
            for payloads in self.groups:
                try:
                    self._one(server, payloads)
                except (RuntimeError, ValueError, OSError) as error:
                    print(f"round {number}: {server.name}, {payloads}: {error}", file=sys.stderr, flush=True)

    def _one(self, server: Server, payloads: tuple[str, str]) -> None:
        self.port += 10
        folder = self.folder / f"{self.port}"
        folder.mkdir()
        probe = (payloads[0], self.inputs[payloads[0]], self.expected[payloads[0]])
        binary = ensure_environment(server)
        with measure.started(
            server, binary, self.model(payloads[0]), port=self.port, folder=folder, probe=probe
        ) as running:
            for payload in payloads:
                ask = server.ask(payload, self.inputs[payload])
                if ask is None:
                    continue
                measure.check_answer(server, ask, running.port, self.expected[payload])
                for connections in (32, 1):
                    # Some peers take a second for one image.
                    seconds = self.seconds if payload in ("row", "rows") else 3 * self.seconds
                    figures = measure.load(ask, running, connections=connections, seconds=seconds, folder=folder)
                    self.cells.setdefault((server.name, payload, connections), Cell()).windows.append(figures)
            if payloads[0] == "row":
                self.start.setdefault(server.name, []).append(running.start_seconds)
                self.memory.setdefault(server.name, []).append(measure.memory_mib(running.process.pid))

    def measure_floor(self) -> None:
        """Measure what is possible without a server, on the server's core."""
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {int(measure.SERVER_CORE)})
        try:
            for model, payloads in (("lr", ("row", "rows")), ("cnn", ("image",))):
                asks = {payload: self.inputs[payload] for payload in payloads}
                self.floor |= measure.floor(self.folder / f"{model}.onnx", asks, seconds=self.seconds)
        finally:
            os.sched_setaffinity(0, allowed)

    def write(self, path: Path) -> None:
        """Write the tables, and beside them every window."""
        path.write_text(self.report())
        windows = {
            " | ".join(map(str, key)): [dataclasses.asdict(window) for window in cell.windows]
            for key, cell in self.cells.items()
        }
        path.with_suffix(".json").write_text(json.dumps(windows, indent=1))

    def report(self) -> str:
        """Write everything as Markdown."""
        titles = {
            "row": "1 row of 30 numbers, JSON",
            "rows": "100 rows of 30 numbers, JSON",
            "image": "one 3 x 224 x 224 image as JSON",
            "bytes": "one image as raw bytes",
        }
        parts = [self._table(payload, title) for payload, title in titles.items()]
        return "\n".join([*parts, self._sizes(), self._ratios()])

    def _table(self, payload: str, title: str) -> str:
        lines = [
            f"### {title}\n",
            "| server | c=32 req/s | p50 / p99 ms | CPU s per 1000 | c=1 req/s | p50 / p99 ms | failed |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for server in self.servers:
            many, one = (self.cells.get((server.name, payload, connections)) for connections in (32, 1))
            if many is None or one is None:
                continue
            failed = sum(window.failed for window in many.windows + one.windows)
            lines.append(
                f"| {server.name} | {many.median('requests_per_second'):,.0f} |"
                f" {many.median('p50_ms'):.2f} / {many.median('p99_ms'):.2f} |"
                f" {many.median('cpu_seconds_per_1000'):.3f} | {one.median('requests_per_second'):,.0f} |"
                f" {one.median('p50_ms'):.2f} / {one.median('p99_ms'):.2f} | {failed} |"
            )
        if payload in self.floor:
            lines.append(f"| *in process, no server* | {self.floor[payload]:,.0f} | | | | | |")
        return "\n".join(lines) + "\n"

    def _sizes(self) -> str:
        lines = [
            "### Start and memory\n",
            "| server | start to first right answer, s | PSS after load, MiB |",
            "|---|---:|---:|",
        ]
        for server in self.servers:
            if server.name in self.start:
                start, memory = (statistics.median(table[server.name]) for table in (self.start, self.memory))
                lines.append(f"| {server.name} | {start:.2f} | {memory:.0f} |")
        return "\n".join(lines) + "\n"

    def _ratios(self) -> str:
        lines = [
            "### How many times as many requests per second as each, c=32 (median, lowest and highest of the rounds)\n",
            "| than | payload | ratio | range | goal | |",
            "|---|---|---:|---:|---:|---|",
        ]
        for (name, payload, connections), cell in self.cells.items():
            own = self.cells.get((_OURS, payload, 32))
            if connections != 32 or name == _OURS or own is None or (name == _CEILING and payload != "row"):
                continue
            pairs = zip(own.windows, cell.windows, strict=False)
            # A window in which a slow peer answered nothing says less than any number would.
            ratios = [
                ours.requests_per_second / theirs.requests_per_second
                for ours, theirs in pairs
                if theirs.requests_per_second
            ]
            if not ratios:
                continue
            median, goal = statistics.median(ratios), _GOALS.get((name, payload))
            verdict = "" if goal is None else "reached" if median >= goal else "missed"
            lines.append(
                f"| {name} | {payload} | {median:.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
                f" {'' if goal is None else goal} | {verdict} |"
            )
        return "\n".join(lines) + "\n"


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--payloads", nargs="*", default=["row", "image"], choices=["row", "image"])
    parser.add_argument("--only", nargs="*", default=[], help="names of servers; all without")
    parser.add_argument("--out", type=Path, default=None, help="also write the tables and all windows here")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; on Debian: apt-get install wrk")
    cache_folder().mkdir(parents=True, exist_ok=True)
    chosen = [server for server in SERVERS if not options.only or server.name in options.only]
    for server in chosen:
        ensure_environment(server)
    benchmark = Benchmark(chosen, seconds=options.seconds, payloads=options.payloads)
    for number in range(1, options.rounds + 1):
        began = time.monotonic()
        benchmark.round(number)
        print(f"round {number} of {options.rounds}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        benchmark.measure_floor()
        if options.out:
            # After each round, so that a run that is stopped has something to show.
            benchmark.write(options.out)
    print(benchmark.report())


if __name__ == "__main__":
    main()

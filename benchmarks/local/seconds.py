"""Seconds that a person waits for ``mep local up``: printed as the table of docs/local.md.

    PYTHONPATH=cli:operator:server:tests .venv/bin/python benchmarks/local/seconds.py 7

Each run is a folder of its own with real Envoy and real servers; a client asks every 10 ms.
"""

import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support.laptop import FIRST, SECOND, Laptop, measure
from support.onnx_models import corrupt
from support.routers import free_port

ROWS = {
    "up": "`mep local up` typed → first prediction",
    "canary": "model file changed → first request that the candidate has answered (10 %)",
    "rejected": "broken model file written → the reason is in the status",
    "server": "model server killed (`kill -9`) → next good answer",
    "envoy": "Envoy killed → next good answer",
    "end": "Ctrl-C → every process gone",
    "recover": "`mep` itself killed: `mep local up` typed again → first answer of a new server",
}


def main(runs: int) -> None:
    """Measure and print."""
    seconds: dict[str, list[float]] = {name: [] for name in ROWS}
    for number in range(runs):
        folder = Path(tempfile.mkdtemp(prefix="mep-seconds-"))
        laptop = Laptop(folder, port=free_port())
        try:
            for name, value in run(laptop).items():
                seconds[name].append(value)
        finally:
            laptop.clean_up()
            shutil.rmtree(folder)
        print(f"run {number + 1} of {runs}", file=sys.stderr)
    print("| What | N | Median | Least | Most |\n|---|---|---|---|---|")
    for name, values in seconds.items():
        shown = " | ".join(f"{value:.2f} s" for value in (statistics.median(values), min(values), max(values)))
        print(f"| {ROWS[name]} | {len(values)} | {shown} |")


def run(laptop: Laptop) -> dict[str, float]:
    """Walk once through everything."""
    found: dict[str, float] = {}
    laptop.write_model(FIRST)
    laptop.write_endpoint()
    laptop.start("--watch")
    found["up"] = measure(laptop.answers)
    laptop.wait(lambda: laptop.serves(1))

    laptop.write_model(SECOND)
    found["canary"] = measure(lambda: laptop.answers() and laptop.predict()[1] == "2")
    laptop.wait(lambda: laptop.serves(2))

    laptop.write_model(corrupt(FIRST))
    found["rejected"] = measure(lambda: laptop.reason() == "ModelInvalid")
    laptop.write_model(SECOND)
    laptop.wait(lambda: laptop.serves(2) and len(laptop.pods("model-server")) == 1)

    found["server"] = after_kill(laptop, "model-server")
    found["envoy"] = after_kill(laptop, "router")

    laptop.kill()
    killed = laptop.pid_files()
    laptop.start()
    found["recover"] = measure(lambda: laptop.answers() and laptop.pid_files() != killed and laptop.pid_files() != {})

    began = time.monotonic()
    laptop.interrupt()
    found["end"] = time.monotonic() - began
    return found


def after_kill(laptop: Laptop, component: str) -> float:
    """Kill the process of a component; count the seconds until the one after it answers."""
    pid = laptop.pid(component)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return measure(lambda: laptop.pid(component) not in (None, pid) and laptop.answers())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)

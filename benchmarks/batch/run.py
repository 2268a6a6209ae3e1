"""Measures the batch worker on this machine: rows per second and per CPU second, and memory, against a plain script.

``python benchmarks/batch/run.py --rows 2000000 --pictures 4000 --out result.md``; ``--memory 1,10`` measures memory at so many
million rows. Workers are pinned to cores: one core each, or one worker on all.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import inputs
import models

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORES = sorted(os.sched_getaffinity(0))
TREES = 80
"""About 2 microseconds a row: the least that the goal speaks of."""
PANDAS = ("pandas", *(f"{name}=={importlib.metadata.version(name)}" for name in ("pyarrow", "onnxruntime", "numpy")))


@dataclass(frozen=True)
class Floor:
    """What ONNX Runtime alone does."""

    rate: float
    """Rows per second."""
    cpu_rate: float
    """Rows per CPU second."""


@dataclass(frozen=True)
class Cost:
    """What processes took."""

    seconds: float
    cpu: float
    memory: int
    """Bytes, of the largest of them."""


def run(commands: Sequence[tuple[list[str], dict[str, str], Sequence[int]]]) -> Cost:
    """Run processes side by side, each on its cores."""
    begin, cpu, memory = time.perf_counter(), 0.0, 0
    started = [subprocess.Popen(pinned(command, cores), env=env) for command, env, cores in commands]
    for process in started:
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{process.args} ended with {status}")
        cpu += usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss * 1024)
    return Cost(time.perf_counter() - begin, cpu, memory)


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """Run a command on some cores."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


class Worker:
    """Our batch worker, run as the operator runs it, on files of this disk."""

    def __init__(self, folder: Path, model: Path, source: Path, columns: dict[str, Any], workers: int) -> None:
        self._folder = folder
        self._workers = workers
        self._run = {
            "run": "benchmark",
            "input": {"uri": f"file://{source}"},
            "output": {"uri": f"file://{folder}/output"},
            "columns": {"passThrough": ["id"], **columns},
            "shardBytes": max(2**20, min(64 * 2**20, source.stat().st_size // 8)),
        }
        self._model = model

    def measure(self, cores: Sequence[Sequence[int]]) -> tuple[Cost, Cost, dict[str, Any]]:
        """Plan and work it all; return what both took, and the manifest."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        plan = run([self._command("plan", 0, CORES)])
        work = run([self._command("work", index, some) for index, some in enumerate(cores)])
        manifest = json.loads((self._folder / "output" / "_MANIFEST.json").read_bytes())
        return plan, work, manifest

    def _command(self, verb: str, index: int, cores: Sequence[int]) -> tuple[list[str], dict[str, str], Sequence[int]]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "server"),
            "MODELENDPOINT_NAME": "benchmark",
            "MODELENDPOINT_MODEL_URI": f"file://{self._model}",
            "MODELENDPOINT_MODEL_DIR": str(self._folder / f"models-{index}"),
            "MODELENDPOINT_HOST": "127.0.0.1",
            "MODELENDPOINT_MANAGEMENT_PORT": str(free_port()),
            "MODELENDPOINT_BATCH": json.dumps(self._run),
            "MODELENDPOINT_BATCH_WORKERS": str(self._workers),
            "MODELENDPOINT_BATCH_TERMINATION_LOG": str(self._folder / f"words-{index}"),
            "MODELENDPOINT_LOG_LEVEL": "WARNING",
            "JOB_COMPLETION_INDEX": str(index),
        }
        return [sys.executable, "-m", "modelendpoint_server", "batch", verb], environment, cores


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def floor(model: Path, cores: Sequence[int]) -> Floor:
    """Measure ONNX Runtime alone, one thread a core."""
    command = [sys.executable, str(HERE / "floor.py"), str(model), str(len(cores)), "3"]
    done = subprocess.run(pinned(command, cores), capture_output=True, text=True, check=True)
    return Floor(*map(float, done.stdout.split()))


def pandas_python(cache: Path) -> Path:
    """Return a Python with pandas, made at the first use."""
    folder = cache / "venv" / hashlib.sha256("\n".join(PANDAS).encode()).hexdigest()[:12]
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "uv", "venv", "--quiet", "--clear", str(folder)], check=True)
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
        subprocess.run([*install, *PANDAS], check=True)
        (folder / "installed").touch()
    return folder / "bin" / "python"


def line(what: str, rows: int, cost: Cost, reference: Floor, *, start: float) -> str:
    """Write a line of the table; ``start`` is the CPU time that it takes to begin, whatever the number of rows."""
    rate, cpu_rate, steady = rows / cost.seconds, rows / cost.cpu, rows / (cost.cpu - start)
    return (
        f"| {what} | {rate:,.0f} | {100 * rate / reference.rate:.0f} % | {cpu_rate:,.0f} |"
        f" {100 * cpu_rate / reference.cpu_rate:.0f} % | {100 * steady / reference.cpu_rate:.0f} % |"
        f" {cost.memory / 2**20:.0f} |"
    )


def start_of(cache: Path, model: Path, columns: dict[str, Any], like: Path, workers: int) -> float:
    """Measure the CPU seconds of so many workers that have next to nothing to do."""
    source = cache / f"few{like.suffix}"
    (inputs.write_pictures if columns["features"] == ["x"] else inputs.write_table)(source, 2 * workers)
    _, work, _ = Worker(cache / "start", model, source, columns, workers).measure([CORES] * workers)
    return work.cpu


def measure_case(cache: Path, name: str, model: Path, source: Path, rows: int, columns: dict[str, Any]) -> list[str]:
    """Measure one model on one file in all ways."""
    whole, single = floor(model, CORES), floor(model, CORES[:1])
    lines = [
        "",
        f"**{name}**, {source.suffix[1:]}, {rows:,} rows, {source.stat().st_size / rows:.0f} bytes a row",
        "",
        "| | rows/s | of the floor | rows per CPU s | of the floor | without start | MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
        f"| *floor, {len(CORES)} cores* | {whole.rate:,.0f} | | {whole.cpu_rate:,.0f} | | | |",
        f"| *floor, 1 core* | {single.rate:,.0f} | | {single.cpu_rate:,.0f} | | | |",
    ]
    ways = {
        f"worker, {len(CORES)} cores": ([CORES], whole),
        "worker, 1 core": ([CORES[:1]], single),
        f"{len(CORES)} workers, 1 core each": ([[core] for core in CORES], whole),
    }
    for what, (cores, reference) in ways.items():
        plan, work, manifest = Worker(cache / "run", model, source, columns, len(cores)).measure(cores)
        assert (manifest["rowsOut"], manifest["rowsRejected"]) == (rows, 0)
        begin = start_of(cache, model, columns, source, len(cores))
        lines.append(line(f"{what} (planning took {plan.seconds:.1f} s)", rows, work, reference, start=begin))
        print(lines[-1], flush=True)
    target = cache / "run" / f"plain{source.suffix}"
    command = [str(pandas_python(cache)), str(HERE / "plain.py"), str(model), str(source), str(target), str(len(CORES))]
    cost = run([(command, dict(os.environ), CORES)])
    lines.append(line(f"pandas + ONNX Runtime, {len(CORES)} cores", rows, cost, whole, start=0))
    print(lines[-1], flush=True)
    return lines


def measure_memory(cache: Path, model: Path, million: int, suffix: str) -> str:
    """Measure the memory of one worker on a file of so many million rows."""
    source, rows = cache / f"memory{suffix}", million * 1_000_000
    inputs.write_table(source, rows)
    _, work, manifest = Worker(cache / "run", model, source, {"features": list(models.FEATURES)}, 1).measure([CORES])
    assert manifest["rowsOut"] == rows
    source.unlink()
    return f"| {suffix[1:]} | {million} M | {work.memory / 2**20:.0f} | {rows / work.seconds:,.0f} |"


def measure_tables(cache: Path, rows: int, only: str) -> list[str]:
    """Measure the model of tables on each format."""
    model, lines = cache / "trees.onnx", []
    model.write_bytes(models.trees(count=TREES))
    for suffix in (".csv", ".parquet", ".jsonl"):
        if only not in f"table{suffix}":
            continue
        source = cache / f"table-{rows}{suffix}"
        if not source.exists():
            inputs.write_table(source, rows)
        lines += measure_case(cache, f"{TREES} trees", model, source, rows, {"features": list(models.FEATURES)})
    return lines


def measure_pictures(cache: Path, rows: int, only: str) -> list[str]:
    """Measure the model of pictures."""
    model, lines = cache / "cnn.onnx", []
    model.write_bytes(models.cnn())
    for suffix in (".jsonl", ".parquet"):
        if only not in f"pictures{suffix}":
            continue
        source = cache / f"pictures-{rows}{suffix}"
        if not source.exists():
            inputs.write_pictures(source, rows)
        lines += measure_case(cache, "pictures", model, source, rows, {"features": ["x"]})
    return lines


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--memory", default="", help="millions of rows, with commas between")
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    home = Path(os.environ.get("MODELENDPOINT_CACHE") or Path.home() / ".cache" / "modelendpoint")
    cache = home / "benchmark" / "batch"
    cache.mkdir(parents=True, exist_ok=True)
    lines = [f"Load of the machine before: {os.getloadavg()[0]:.1f}."]
    lines += measure_tables(cache, arguments.rows, arguments.only)
    lines += measure_pictures(cache, arguments.pictures, arguments.only)
    if arguments.memory:
        lines += ["", "| format | rows | MiB | rows/s |", "|---|---:|---:|---:|"]
        for suffix in (".csv", ".parquet"):
            for million in map(int, arguments.memory.split(",")):
                lines.append(measure_memory(cache, cache / "trees.onnx", million, suffix))
                print(lines[-1], flush=True)
    lines.append(f"\nLoad of the machine after: {os.getloadavg()[0]:.1f}.")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()

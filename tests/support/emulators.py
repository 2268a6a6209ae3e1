"""Real servers on this machine: an S3 server, a GCS and an Azure emulator, a container registry, Prometheus.

Built from Go and npm packages into the cache at their first use. What can't be built fails the test that asked for it,
with the reason; nothing is skipped.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from localcluster.commands import locked
from localcluster.folders import Cache
from localcluster.golang import find_go

GO_TOOLS = {
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
    "registry": "github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
    "oras": "oras.land/oras/cmd/oras@v1.3.6",
    "prometheus": "github.com/prometheus/prometheus/cmd/prometheus@v0.316.0",  # released as 3.16.0
    "promtool": "github.com/prometheus/prometheus/cmd/promtool@v0.316.0",
}
NPM_TOOLS = {"azurite-blob": "azurite@3.35.0"}
_START_SECONDS = 30.0


def find_go_tool(name: str) -> Path:
    """Return a tool's binary, built from its Go module if it is not in the cache."""
    package = GO_TOOLS[name]
    cache = Cache.from_environment(os.environ)
    folder = cache.bin / f"{name}-{package.rpartition('@')[2].removeprefix('v')}"
    binary = folder / name
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not binary.exists():
            environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-trimpath"}
            _build([str(find_go(cache)), "install", package], environment, name)
    return binary


def find_npm_tool(name: str) -> Path:
    """Return a tool's start script, installed from npm if it is not in the cache."""
    package = NPM_TOOLS[name]
    folder = Cache.from_environment(os.environ).root / "npm" / package.replace("@", "-")
    binary = folder / "node_modules" / ".bin" / name
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not binary.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _build(
                ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", package], dict(os.environ), name
            )
    return binary


def _build(command: Sequence[str], environment: Mapping[str, str], name: str) -> None:
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"{name} can't be built: {command[0]} is not installed")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"{name} can't be built: {done.stderr[-2000:]}")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a server until the block ends; it begins as soon as the port answers."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        try:
            _wait_for(port, process, log)
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} did not listen on {port}: {log.read_text(errors='replace')[-2000:]}")

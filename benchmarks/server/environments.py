"""A virtual environment for each server, made by the benchmark itself in the cache folder."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from servers import Server


def cache_folder() -> Path:
    """Return the folder that everything is kept in."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MODELENDPOINT_CACHE") or home / "modelendpoint") / "benchmark"


def ensure_environment(server: Server) -> Path:
    """Return the ``bin`` folder of a server's environment; raise ``RuntimeError`` with pip's reason."""
    digest = hashlib.sha256("\n".join([server.python, *server.requirements]).encode()).hexdigest()[:12]
    folder = cache_folder() / "venv" / digest
    done = folder / "installed"
    if not done.exists():
        print(f"installing {server.name}: {' '.join(server.requirements)}", flush=True)
        python = "/usr/bin/python3" if server.python == "system" else sys.executable
        _run([sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", python, str(folder)], server.name)
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
        _run([*install, *server.requirements, "setuptools<80"], server.name)
        done.touch()
    return folder / "bin"


def _run(command: list[str], name: str) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{name} can't be installed: {finished.stderr[-1500:]}")

"""Virtual environments from a lock file with hashes; made again only when the lock changes."""

import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from localcluster import debian
from localcluster.commands import locked, run, run_long, say


def ensure_virtualenv(folder: Path, lock: Path) -> Path:
    """Make the environment hold what the lock names, and return its folder."""
    stamp = folder / "lock.sha256"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not (stamp.exists() and stamp.read_text() == wanted and (folder / "bin" / "python").exists()):
            say(f"installing {lock.name} into {folder}")
            _make(folder, lock)
            stamp.write_text(wanted)
    return folder


def _make(folder: Path, lock: Path) -> None:
    if not importlib.util.find_spec("ensurepip"):  # Debian splits it off
        debian.install(["python3-venv"], reason="a virtual environment")
    python = folder / "bin" / "python"
    if not python.exists():  # also a link to a Python that has gone
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder])
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # Python compiles what it imports by itself: to compile all of it beforehand takes as long as to install it.
    command: list[str | Path] = [python, "-m", "pip", "install", "--no-compile", "--require-hashes", "-r", lock]
    run_long(command, environment=environment)

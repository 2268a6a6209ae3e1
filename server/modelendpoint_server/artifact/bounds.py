"""How much a model may be, and what its files may be called."""

import dataclasses
from pathlib import PurePosixPath

from modelendpoint_server.errors import ModelUnsafe

_LONGEST_PATH = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much a model may be, and how long getting it may take."""

    max_bytes: int
    max_files: int
    max_unpack_ratio: int
    timeout_seconds: float
    min_bytes_per_second: int


def safe_path(path: str) -> str:
    """Return the relative path; raise ``ModelUnsafe`` if it leads out of the folder or is none."""
    parts = PurePosixPath(path).parts
    odd = not parts or path.startswith("/") or len(path) > _LONGEST_PATH or path != path.strip()
    if odd or "\\" in path or not path.isprintable() or any(part in ("..", ".") for part in path.split("/")):
        raise ModelUnsafe(f"The model has a file named {path[:100]!r}, which leads out of its folder or is no name.")
    return str(PurePosixPath(path))

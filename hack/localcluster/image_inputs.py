"""What the images are made from, and its hash: images are built again only when it changes. Pure but for reading files."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

INPUTS = {
    "operator": ("Dockerfile", "hack/image", "locks/operator.txt", "operator/modelendpoint_operator"),
    "server": ("Dockerfile", "hack/image", "locks/server.txt", "server/modelendpoint_server"),
    "router": ("Dockerfile", "hack/image", "locks/router.txt"),
}
"""Image → files and folders of the checkout that go into it. ``.dockerignore`` lets nothing else in."""

LEFT_OUT = ("__pycache__",)


def read_inputs(checkout: Path, paths: Iterable[str]) -> dict[str, bytes]:
    """Read all files: path in the checkout → content."""
    found = {}
    for path in paths:
        top = checkout / path
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for file in files:
            if file.is_file() and not any(part in LEFT_OUT for part in file.parts):
                found[str(file.relative_to(checkout))] = file.read_bytes()
    return found


def hash_inputs(files: Mapping[str, bytes]) -> str:
    """Derive one short hash from names and contents."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def read_version(pyproject: str) -> str:
    """Read the project's version, which is the images' tag."""
    found = re.search(r'^version = "([^"]+)"$', pyproject, re.MULTILINE)
    if not found:
        raise ValueError("pyproject.toml has no version")
    return found[1]

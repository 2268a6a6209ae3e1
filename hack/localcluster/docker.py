"""Build images with Docker."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from localcluster.commands import run, run_long
from localcluster.folders import REPOSITORY


class Docker:
    """The Docker that the command ``docker`` talks to. Only images of ours are made or changed."""

    @staticmethod
    def is_there() -> bool:
        """Say whether a daemon answers."""
        return not Docker.find_trouble()

    @staticmethod
    def find_trouble() -> str:
        """Say why there is no answer; nothing if a daemon answers."""
        if not shutil.which("docker"):
            return "there is no command `docker`"
        try:
            asked = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=10, check=False)
        except subprocess.TimeoutExpired:
            return "`docker version` has not answered for 10 s"
        return (asked.stderr.strip() or "`docker version` failed").splitlines()[-1] if asked.returncode else ""

    def prepare(self) -> None:
        """Do nothing: Docker pulls the base image."""

    def build(self, target: str, reference: str, options: Sequence[str]) -> None:
        """Build one target of the Dockerfile."""
        command = ["docker", "build", f"--target={target}", f"--tag={reference}", *options, str(REPOSITORY)]
        run_long(command, environment={**os.environ, "DOCKER_BUILDKIT": "1"})

    def save(self, reference: str, archive: Path) -> None:
        """Write the image to an archive."""
        beside = archive.with_name(f".{archive.name}.new")
        run(["docker", "save", reference, "--output", beside])
        beside.replace(archive)

"""The other tools, built from their Go modules into the cache, each as an image that holds nothing else."""

import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from localcluster.archives import build_scratch_archive
from localcluster.commands import locked, say
from localcluster.folders import Cache
from localcluster.golang import find_go


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program in a Go module of its own."""

    name: str
    module: str
    version: str
    package: str

    @property
    def image(self) -> str:
        """Name of its image."""
        return f"localhost/{self.name}:{self.version}"


FLAGGER = Tool(name="flagger", module="github.com/fluxcd/flagger", version="v1.36.1", package="./cmd/flagger")
ARGO = Tool(
    name="rollouts-controller",
    module="github.com/argoproj/argo-rollouts",
    version="v1.10.0",
    package="./cmd/rollouts-controller",
)
CONTOUR = Tool(name="contour", module="github.com/projectcontour/contour", version="v1.33.8", package="./cmd/contour")
PROMETHEUS = Tool(
    name="prometheus", module="github.com/prometheus/prometheus", version="v0.316.0", package="./cmd/prometheus"
)
TOOLS = (FLAGGER, ARGO, CONTOUR, PROMETHEUS)


def source_of(tool: Tool) -> Path:
    """Download a tool's module, and return the folder with its source and manifests."""
    go = str(find_go(Cache.from_environment(os.environ)))
    command = [go, "mod", "download", "-json", f"{tool.module}@{tool.version}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())
    return Path(json.loads(told.stdout)["Dir"])


def ensure_image(tool: Tool) -> Path:
    """Build a tool's image archive if it is not in the cache, and return where it is."""
    cache = Cache.from_environment(os.environ)
    binary = cache.root / "peers" / f"{tool.name}-{tool.version}" / tool.name
    archive = binary.with_name("image.tar")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with locked(binary.parent.with_name(f".{binary.parent.name}.lock")):
        if not binary.exists():
            _build(tool, binary)
        if not archive.exists():
            beside = archive.with_name(".image.tar")
            content = build_scratch_archive(
                tool.image,
                {tool.name: binary.read_bytes()},
                [f"/{tool.name}"],
                machine=platform.machine(),
                user="65532:65532",
            )
            beside.write_bytes(content)
            beside.replace(archive)
    return archive


def _build(tool: Tool, binary: Path) -> None:
    """Build in the module's own folder: so its ``replace`` lines and its ``go.sum`` hold."""
    say(f"building {tool.name} {tool.version}: once, about ten minutes on 2 cores")
    go = str(find_go(Cache.from_environment(os.environ)))
    beside = binary.with_name(f".{tool.name}")
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"]
    subprocess.run(
        [go, "build", *flags, "-o", str(beside), tool.package], cwd=source_of(tool), check=True, env=_environment()
    )
    shutil.move(beside, binary)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}

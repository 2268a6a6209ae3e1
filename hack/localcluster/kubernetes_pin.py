"""Pin another minor of Kubernetes: write the Go module in ``hack/tools`` that its programs are built from.

Every library has the version that this Kubernetes was released with, and Go's own settings are those of its time.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.binaries import KUBEADM, KUBERNETES, OTHER_MINOR, Release
from localcluster.commands import ClusterError, run, run_long, say
from localcluster.folders import TOOLS, Cache
from localcluster.golang import NEEDED, find_go

RELEASED = re.compile(r"1\.(\d+)\.(\d+)")
UNRELEASED = "v0.0.0"
"""The version that Kubernetes' own go.mod has for the modules in its staging folder."""
EXAMPLES = re.compile(r"k8s\.io/sample-")
"""Modules that no program has anything of; they are not had for every version."""


@dataclass(frozen=True)
class Pin:
    """A version to pin, and the folder for it."""

    version: str

    def __post_init__(self) -> None:
        """Refuse what is no released version, and the minor that is pinned by hand."""
        if not RELEASED.fullmatch(self.version):
            raise ClusterError(f"`{self.version}` is not a version of Kubernetes; write it like 1.32.8")
        if Release().version.startswith(f"{self.minor}."):
            raise ClusterError(
                f"{self.minor} is the minor of hack/tools/kubernetes; hack/README.md says how to change it"
            )

    @property
    def minor(self) -> str:
        """The minor, as ``KIND_KUBERNETES`` names it."""
        return self.version.rpartition(".")[0]

    @property
    def folder(self) -> Path:
        """Where its ``go.mod`` is."""
        return TOOLS / f"{OTHER_MINOR}{self.minor}"

    def write(self, cache: Cache) -> None:
        """Write go.mod and go.sum."""
        go = str(find_go(cache))
        with tempfile.TemporaryDirectory(prefix="modelendpoint-pin-") as outside:
            wanted = f"{KUBERNETES.module}@v{self.version}"
            downloaded = json.loads(run([go, "mod", "download", "-json", wanted], folder=Path(outside)))
        described = json.loads(run([go, "mod", "edit", "-json", downloaded["GoMod"]]))
        self.folder.mkdir(exist_ok=True)
        (self.folder / "go.mod").write_text(build_go_mod(described, self.version))
        (self.folder / "go.sum").unlink(missing_ok=True)
        environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
        run_long([go, "mod", "tidy"], environment=environment, folder=self.folder)
        say(f"pinned Kubernetes {self.version} in {self.folder}; KIND_KUBERNETES={self.minor} takes it")


def build_go_mod(of_kubernetes: Mapping[str, Any], version: str) -> str:
    """Derive our go.mod from Kubernetes' own, as ``go mod edit -json`` tells it."""
    staging = f"v0.{version.partition('.')[2]}"
    required = {module["Path"]: module["Version"] for module in of_kubernetes["Require"]}
    released_with_it = sorted(path for path, its in required.items() if its == UNRELEASED)
    examples = [path for path in released_with_it if EXAMPLES.match(path)]
    libraries = {path: its for path, its in required.items() if path not in examples}
    packages = sorted([*KUBERNETES.packages.values(), *KUBEADM.packages.values()])
    minor = version.rpartition(".")[0]
    return "\n".join(
        [
            f"module modelendpoint.dev/hack/tools/{OTHER_MINOR}{minor}\n",
            f"go {NEEDED[0]}.{NEEDED[1]}.0\n",
            f"godebug default={_go_of_its_time(of_kubernetes)}\n",
            *_block("replace", (f"{path} => {path} {staging}" for path in released_with_it if path in libraries)),
            *_block("exclude", (f"{path} {UNRELEASED}" for path in examples)),
            *_block("tool", packages),
            *_block(
                "require", [f"{KUBERNETES.module} v{version}", *(f"{path} {its}" for path, its in libraries.items())]
            ),
        ]
    )


def _go_of_its_time(of_kubernetes: Mapping[str, Any]) -> str:
    """Read which Go's behaviour it was released with: `godebug default`, or the line `go`."""
    settings = {setting["Key"]: setting["Value"] for setting in of_kubernetes.get("Godebug") or []}
    major, minor, *_ = of_kubernetes["Go"].split(".")
    return str(settings.get("default", f"go{major}.{minor}"))


def _block(verb: str, lines: Iterable[str]) -> list[str]:
    return [f"{verb} (", *(f"\t{line}" for line in lines), ")\n"]

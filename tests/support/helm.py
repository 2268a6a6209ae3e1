"""Render the Helm chart, as `helm install` would."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.cluster import run_hack_cluster

CHART = Path(__file__).resolve().parents[2] / "charts/modelendpoint"
RELEASE = "modelendpoint"
NAMESPACE = "modelendpoint-system"

Manifest = dict[str, Any]


@cache
def helm_binary() -> str:
    """Find Helm: the local cluster's, any on the PATH, or build it. Without Helm these tests fail, they do not skip."""
    cache_folder = Path(os.environ.get("MODELENDPOINT_CACHE") or Path.home() / ".cache/modelendpoint")
    cached = cache_folder / "bin/helm"
    if cached.exists():
        return str(cached)
    return shutil.which("helm") or str(Path(run_hack_cluster("tools", capture=True).strip()) / "helm")


def run_helm(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run Helm; the caller looks at the return code."""
    return subprocess.run(
        [helm_binary(), *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def render_chart(values: Manifest | None = None, *, release: str = RELEASE) -> list[Manifest]:
    """Render all objects of the chart with these values."""
    arguments = ("template", release, str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.30.0", "--values", "-")
    done = run_helm(*arguments, stdin=yaml.safe_dump(values or {}))
    if done.returncode:
        raise ValueError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Pick the objects of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]

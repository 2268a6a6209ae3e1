"""The CRDs of the Gateway API as its project publishes them, from its Go module (pinned in ``hack/tools/gateway-api``)."""

import json
import os
from pathlib import Path

from localcluster.commands import run
from localcluster.folders import TOOLS, Cache
from localcluster.golang import find_go

MODULE = "sigs.k8s.io/gateway-api"


def crd_file(kind: str) -> Path:
    """Find the standard CRD of a kind, named in the plural; its module is downloaded at the first call."""
    go = find_go(Cache.from_environment(os.environ))
    answer = run([str(go), "-C", str(TOOLS / "gateway-api"), "mod", "download", "-json", MODULE])
    return Path(json.loads(answer)["Dir"]) / "config" / "crd" / "standard" / f"gateway.networking.k8s.io_{kind}.yaml"

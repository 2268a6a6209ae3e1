"""The command ``hack/cluster``."""

import argparse
import os
from collections.abc import Sequence

from localcluster.commands import ClusterError, say
from localcluster.folders import Cache
from localcluster.node_cluster import NodeCluster


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its code."""
    parser = argparse.ArgumentParser(prog="hack/cluster", description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "status", "kubeconfig"])
    parser.add_argument("--name", default="demo")
    options = parser.parse_args(arguments)
    cluster = NodeCluster(options.name, Cache.from_environment(os.environ))
    try:
        if options.verb == "up":
            cluster.up()
        elif options.verb == "down":
            cluster.down()
        elif options.verb == "status":
            print("\n".join(cluster.status() or ["ok"]))
        else:
            print(cluster.kubeconfig)
    except ClusterError as error:
        say(f"hack/cluster: {error}")
        return 1
    return 0

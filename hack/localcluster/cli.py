"""The command ``hack/cluster``."""

import argparse
import os
from collections.abc import Callable, Sequence

from localcluster import binaries
from localcluster.commands import ClusterError, Refused, say
from localcluster.folders import Cache
from localcluster.images import Images
from localcluster.kinds import KINDS, Cluster, forget_kind, open_cluster, record_kind

DESCRIPTION = """A Kubernetes cluster on this machine, for the demo, the tests and trying things.

Kind `node` (the default without Docker and kind) needs root and no registry: etcd, the control plane, kubelet,
kube-proxy, CoreDNS and containerd run in namespaces of their own, and nothing of this machine is changed.
The first start builds them from Go modules, which takes about ten minutes on 2 cores; then it is ten seconds.
`CLUSTER` in the environment chooses the kind like --kind.

Kind `kind` needs Docker; kind itself is built if it is missing or old. KIND_IMAGE names a node image, such as one of another
Kubernetes. KIND_DOCKER=own needs neither Docker nor a registry, but root on Debian: a Docker for this cluster alone, and
a node image that is packed from packages, with KIND_KUBERNETES=1.30 of that minor. Everything is kept in ~/.cache/modelendpoint.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its code."""
    options = build_parser().parse_args(arguments)
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where ip, iptables and runc are; `su` leaves them out
    try:
        return int(VERBS[options.verb](options, Cache.from_environment(os.environ)))
    except ClusterError as error:
        say(f"hack/cluster: {error}")
        return 1
    except KeyboardInterrupt:
        say("hack/cluster: interrupted; the same command again goes on from here")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="hack/cluster", description=DESCRIPTION, formatter_class=formatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        added = verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__)
        added.add_argument("--name", default="demo", help="the cluster's name (default: demo)")
        added.add_argument("--kind", choices=KINDS, default=os.environ.get("CLUSTER") or None)
        if name == "load":
            added.add_argument("images", nargs="+", metavar="IMAGE", help="an archive, or server, operator, router …")
        if name == "images":
            added.add_argument("--build-only", action="store_true", help="do not load them")
        if name in ("stop-node", "start-node"):
            added.add_argument("node", help="the node's name, as in `kubectl get nodes`")
        if name == "exec":
            added.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def up(options: argparse.Namespace, cache: Cache) -> int:
    """Start the cluster; quick when it is up."""
    cluster = _open(options, cache)
    is_new = record_kind(cache, options.name, cluster)
    try:
        cluster.up()
    except Refused:
        if is_new:
            forget_kind(cache, options.name)
        raise
    return 0


def down(options: argparse.Namespace, cache: Cache) -> int:
    """Remove the cluster; its logs are kept."""
    _open(options, cache).down()
    forget_kind(cache, options.name)
    return 0


def status(options: argparse.Namespace, cache: Cache) -> int:
    """Say whether the cluster is well; the code is 1 if not."""
    trouble = _open(options, cache).status()
    print("\n".join(trouble) or f"cluster {options.name} is up")
    return 1 if trouble else 0


def load(options: argparse.Namespace, cache: Cache) -> int:
    """Load images into the cluster."""
    images = Images(cache)
    _open(options, cache).load([images.find(image) for image in options.images])
    return 0


def build_images(options: argparse.Namespace, cache: Cache) -> int:
    """Build the images of this checkout if they have changed, and load them into the cluster."""
    archives = Images(cache).build_all()
    if not options.build_only:
        _open(options, cache).load(archives)
    return 0


def kubeconfig(options: argparse.Namespace, cache: Cache) -> int:
    """Print the path of the cluster's kubeconfig."""
    print(_open(options, cache).kubeconfig)
    return 0


def tools(_options: argparse.Namespace, cache: Cache) -> int:
    """Build kubectl and helm if need be, and print the folder that has them."""
    binaries.ensure_binaries(cache, binaries.PEOPLE)
    print(cache.bin)
    return 0


def execute(options: argparse.Namespace, cache: Cache) -> int:
    """Run a command of this machine in the node's network, where Services and pods are reachable."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ClusterError("name a command, for example `hack/cluster exec -- curl http://10.96.0.1`")
    return _open(options, cache).execute(command)


def stop_node(options: argparse.Namespace, cache: Cache) -> int:
    """End a node of a kind cluster at once, as when it loses power."""
    _open(options, cache).stop_node(options.node)
    return 0


def start_node(options: argparse.Namespace, cache: Cache) -> int:
    """Start a node again that was stopped."""
    _open(options, cache).start_node(options.node)
    return 0


VERBS: dict[str, Callable[[argparse.Namespace, Cache], int]] = {
    "up": up,
    "down": down,
    "status": status,
    "images": build_images,
    "load": load,
    "kubeconfig": kubeconfig,
    "tools": tools,
    "exec": execute,
    "stop-node": stop_node,
    "start-node": start_node,
}


def _open(options: argparse.Namespace, cache: Cache) -> Cluster:
    return open_cluster(cache, options.name, options.kind)

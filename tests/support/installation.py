"""The operator on a test cluster, installed from the chart as its users install it."""

from support.cluster import REPOSITORY, Cluster

RELEASE = "modelendpoint"
HOME = "modelendpoint-system"
DRAIN_SECONDS = 5
"""Shorter than for users: the tests wait for it often, and a test cluster's DNS remembers for 5 s."""


def install(cluster: Cluster, *values: str) -> None:
    """Install or upgrade the operator and wait until it works."""
    cluster.helm(
        *("upgrade", "--install", RELEASE, str(REPOSITORY / "charts" / "modelendpoint")),
        *("--namespace", HOME, "--create-namespace", "--wait", "--timeout=3m"),
        *("--set", f"drainSeconds={DRAIN_SECONDS}", *values),
    )


def wait_for_operator(cluster: Cluster) -> None:
    """Wait until its Deployment is complete."""
    selector = "app.kubernetes.io/component=operator"
    cluster.kubectl("rollout", "status", "-n", HOME, "deployment", "-l", selector, "--timeout=120s")

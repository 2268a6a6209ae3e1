"""What the adapters ask of the API server. The chart grants exactly this (``tests/contract/test_chart_rights.py``).

Data only. Nothing here may ever name secrets: an endpoint's pods mount them, the operator never reads one.
"""

from dataclasses import dataclass

from modelendpoint_operator.names import BATCH_PLURAL, GROUP, PLURAL


@dataclass(frozen=True, kw_only=True)
class Right:
    """The right to use some verbs on one kind of objects."""

    group: str
    resource: str
    verbs: tuple[str, ...]


READ = ("get", "list", "watch")
OWN = (*READ, "create", "patch", "delete")
"""For children. A server-side apply that creates an object needs ``create`` besides ``patch``."""
ACCOMPANY = tuple(verb for verb in OWN if verb != "watch")
"""For those that are not watched."""

RIGHTS = (
    Right(group=GROUP, resource=PLURAL, verbs=READ),
    Right(group=GROUP, resource=f"{PLURAL}/status", verbs=("patch",)),
    # For `blockOwnerDeletion` in the children's owner references, where the cluster checks it (OpenShift does).
    Right(group=GROUP, resource=f"{PLURAL}/finalizers", verbs=("update",)),
    # The runs of a schedule and of replay gates are BatchPredictions that the operator creates and, later, deletes.
    Right(group=GROUP, resource=BATCH_PLURAL, verbs=(*READ, "create", "delete")),
    Right(group=GROUP, resource=f"{BATCH_PLURAL}/status", verbs=("patch",)),
    Right(group=GROUP, resource=f"{BATCH_PLURAL}/finalizers", verbs=("update",)),
    Right(group="batch", resource="jobs", verbs=OWN),
    Right(group="apps", resource="deployments", verbs=OWN),
    Right(group="apps", resource="controllerrevisions", verbs=OWN),
    Right(group="", resource="services", verbs=OWN),
    Right(group="", resource="configmaps", verbs=OWN),
    Right(group="autoscaling", resource="horizontalpodautoscalers", verbs=ACCOMPANY),
    Right(group="networking.k8s.io", resource="ingresses", verbs=ACCOMPANY),
    Right(group="gateway.networking.k8s.io", resource="httproutes", verbs=ACCOMPANY),
    Right(group="policy", resource="poddisruptionbudgets", verbs=ACCOMPANY),
    Right(group="", resource="pods", verbs=("list", "watch", "patch")),
    Right(group="events.k8s.io", resource="events", verbs=("create",)),
)
"""Rights in every namespace that the operator works in."""

LEASE_RIGHTS = (
    Right(group="coordination.k8s.io", resource="leases", verbs=("create",)),
    Right(group="coordination.k8s.io", resource="leases", verbs=("get", "update")),
)
"""Rights in the operator's own namespace; the second one only to the Lease named in its settings."""

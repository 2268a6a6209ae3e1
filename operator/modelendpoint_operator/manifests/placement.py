"""Where pods run: spread, nodes, priority, and how many may be taken away at once. Whose pods must not be here."""

from collections.abc import Mapping
from typing import Any

from modelendpoint_operator.api.placement import SpreadConstraint, WhenUnsatisfiable
from modelendpoint_operator.api.spec import Server

MOST_TAKEN_AWAY = "10%"
"""Share of a Deployment's pods that evictions may take away at once, rounded up: of up to ten pods one. So the only pod
of a Deployment never holds up the drain of its node, and several are never all gone."""


def build_spread(selector: Mapping[str, str]) -> dict[str, Any]:
    """Spread pods over zones and nodes where there are several, and run them all the same where not."""
    pods = {"matchLabels": dict(selector)}
    other_node = {"topologyKey": "kubernetes.io/hostname", "labelSelector": pods}
    return {
        "topologySpreadConstraints": [
            _constraint("topology.kubernetes.io/zone", selector, skew=1, otherwise=WhenUnsatisfiable.SCHEDULE_ANYWAY)
        ],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": other_node}]
            }
        },
    }


def build_placement(server: Server, selector: Mapping[str, str]) -> dict[str, Any]:
    """Build the fields of a pod's spec by which the scheduler places the pods that a selector selects."""
    given: dict[str, Any] = {
        "nodeSelector": dict(server.node_selector or {}),
        "tolerations": [
            part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in server.tolerations or ()
        ],
        "priorityClassName": server.priority_class_name,
    }
    spread = [_spread_constraint(part, selector) for part in server.topology_spread_constraints or ()]
    return {
        **{name: value for name, value in given.items() if value},
        **({"topologySpreadConstraints": spread} if spread else build_spread(selector)),
    }


def build_disruption_budget(metadata: Mapping[str, Any], selector: Mapping[str, str]) -> dict[str, Any]:
    """Build the PodDisruptionBudget of the pods that a selector selects."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": dict(metadata),
        "spec": {
            "maxUnavailable": MOST_TAKEN_AWAY,
            "selector": {"matchLabels": dict(selector)},
            # A pod that is not ready serves nobody: it must not keep its node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _spread_constraint(wanted: SpreadConstraint, selector: Mapping[str, str]) -> dict[str, Any]:
    otherwise = wanted.when_unsatisfiable or WhenUnsatisfiable.SCHEDULE_ANYWAY
    return _constraint(wanted.topology_key, selector, skew=wanted.max_skew or 1, otherwise=otherwise)


def _constraint(key: str, selector: Mapping[str, str], *, skew: int, otherwise: WhenUnsatisfiable) -> dict[str, Any]:
    return {
        "topologyKey": key,
        "maxSkew": skew,
        "whenUnsatisfiable": str(otherwise),
        "labelSelector": {"matchLabels": dict(selector)},
    }

"""Where pods run, and how many may be taken away at once."""

from typing import Any

import pytest

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.api.spec import Server
from modelendpoint_operator.manifests.placement import build_disruption_budget, build_placement

SELECTOR = {"modelendpoint.dev/endpoint": "churn", "modelendpoint.dev/revision": "7"}


def placement_of(**server: Any) -> dict[str, Any]:
    return build_placement(Server.model_validate(server), SELECTOR)


def test_pods_are_spread_over_zones_and_nodes_but_start_where_that_can_not_be() -> None:
    placement = placement_of()
    (zones,) = placement["topologySpreadConstraints"]
    (nodes,) = placement["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]

    assert (zones["topologyKey"], zones["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "ScheduleAnyway")
    assert nodes["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert zones["labelSelector"] == nodes["podAffinityTerm"]["labelSelector"] == {"matchLabels": SELECTOR}
    assert placement.keys() == {"topologySpreadConstraints", "affinity"}


def test_what_the_author_says_of_nodes_goes_to_the_pods_as_it_is() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}, {"key": "a"}]
    placement = placement_of(nodeSelector={"pool": "fast"}, tolerations=tolerations, priorityClassName="serving")

    assert placement["nodeSelector"] == {"pool": "fast"}
    assert placement["tolerations"] == tolerations
    assert placement["priorityClassName"] == "serving"


def test_an_authors_spread_takes_the_place_of_ours_and_counts_the_pods_of_one_revision() -> None:
    hard = {"topologyKey": "kubernetes.io/hostname", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    placement = placement_of(topologySpreadConstraints=[hard, {"topologyKey": "rack"}])

    assert placement == {
        "topologySpreadConstraints": [
            {**hard, "labelSelector": {"matchLabels": SELECTOR}},
            {
                "topologyKey": "rack",
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": SELECTOR},
            },
        ]
    }


@pytest.mark.parametrize(
    "server",
    [
        {"nodeSelector": {"pool": "fast"}},
        {"tolerations": [{"key": "gpu"}]},
        {"topologySpreadConstraints": [{"topologyKey": "rack"}]},
        {"priorityClassName": "serving"},
    ],
    ids=lambda server: next(iter(server)),
)
def test_a_change_of_it_is_a_new_revision(server: dict[str, Any]) -> None:
    def key_of(**spec: Any) -> str:
        metadata = {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1}
        body = {"metadata": metadata, "spec": {"model": {"uri": "s3://models/churn.onnx"}, **spec}}
        return RevisionTemplate.from_spec(ModelEndpoint.from_body(body).spec, server_image="server:1").key

    assert key_of(server=server) != key_of()


def test_evictions_take_few_pods_at_once_and_never_wait_for_the_only_one_or_for_a_sick_one() -> None:
    budget = build_disruption_budget({"name": "churn-r7"}, SELECTOR)

    # Kubernetes rounds the share up, so it is one pod of one, and one of ten.
    assert budget["spec"] == {
        "maxUnavailable": "10%",
        "selector": {"matchLabels": SELECTOR},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }

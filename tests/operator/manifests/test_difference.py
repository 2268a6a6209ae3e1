"""Whether what is in the cluster still is what is wanted."""

from typing import Any

import pytest

from modelendpoint_operator.manifests.difference import differs, with_applied_hash

WANTED = {
    "metadata": {"name": "churn-r1", "labels": {"a": "1"}},
    "spec": {"replicas": 2, "containers": [{"name": "server", "env": [{"name": "VERSION", "value": ""}], "life": {}}]},
}


def live(**container: Any) -> dict[str, Any]:
    """The wanted object as the API server gives it back: with defaults, without what is empty."""
    server = {"name": "server", "env": [{"name": "VERSION"}], "terminationMessagePath": "/dev/termination-log"}
    return {
        "metadata": {"name": "churn-r1", "uid": "u", "labels": {"a": "1", "theirs": "2"}, "managedFields": []},
        "spec": {"replicas": 2, "containers": [server | container], "progressDeadlineSeconds": 600},
        "status": {"replicas": 2},
    }


def test_what_the_api_server_adds_and_drops_is_no_difference() -> None:
    assert not differs(WANTED, live())


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": {"b": 1}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": {"b": 1}}, {"a": [1]}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1]}, {"a": {"b": 1}}),
        ({"a": {}}, {"a": {"theirs": 1}}),
        ({"a": []}, {"a": [1]}),
        ({"value": ""}, {"value": "changed"}),
        ({"sha256": ""}, {}),
        ({"a": True}, {"a": False}),
    ],
)
def test_a_difference_is_seen(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    assert differs(wanted, found)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": {}}, {}),
        ({"a": []}, {"a": []}),
        ({"a": None}, {}),
        ({"value": ""}, {}),
        ({"a": {}}, {"a": {}}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "theirs": 2}]}),
        ({}, {"theirs": 1}),
    ],
)
def test_what_is_there_besides_is_none_of_ours(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    assert not differs(wanted, found)


def test_a_change_deep_inside_is_seen() -> None:
    assert differs(WANTED, live(env=[{"name": "VERSION", "value": "2"}]))
    assert differs(WANTED, live(name="other"))


def test_a_field_that_is_not_sent_any_more_shows_in_the_hash() -> None:
    before = with_applied_hash({"metadata": {"name": "a"}, "spec": {"x": 1, "y": 2}})
    after = with_applied_hash({"metadata": {"name": "a"}, "spec": {"x": 1}})

    assert differs(after, before)
    assert not differs(before, before)


def test_the_hash_keeps_other_annotations_and_depends_on_nothing_but_the_content() -> None:
    manifest = {"metadata": {"name": "a", "annotations": {"b": "1"}}, "spec": {"x": 1}}
    marked = with_applied_hash(manifest)
    turned = with_applied_hash({"spec": {"x": 1}, "metadata": {"annotations": {"b": "1"}, "name": "a"}})

    assert marked == turned
    assert marked["metadata"]["annotations"].keys() == {"b", "modelendpoint.dev/applied-hash"}
    assert "modelendpoint.dev/applied-hash" not in manifest["metadata"]["annotations"]  # type: ignore[operator]

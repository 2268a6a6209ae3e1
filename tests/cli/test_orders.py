"""Orders as annotations."""

from typing import Any

import pytest

from modelendpoint.errors import CliError
from modelendpoint.orders import give, waits_for_a_pause

ROLLING = {"stable": {"revision": 1}, "candidate": {"revision": 2}, "rollout": {"phase": "Holding"}}
STEADY = {
    "stable": {"revision": 3},
    "history": [{"revision": 3}, {"revision": 2}, {"revision": 1}],
    "rejected": [{"revision": 4}, {"revision": 5}],
}


def a_body(status: dict[str, Any], **annotations: str) -> dict[str, Any]:
    told = {f"modelendpoint.dev/{word}": value for word, value in annotations.items()}
    return {"metadata": {"name": "churn", "annotations": told}, "status": status}


@pytest.mark.parametrize(
    ("word", "status", "revision"), [("promote", ROLLING, 2), ("abort", ROLLING, 2), ("retry", STEADY, 5)]
)
def test_the_obvious_revision_is_meant(word: str, status: dict[str, Any], revision: int) -> None:
    order = give(a_body(status), word, revision=None)
    assert (order.annotation, order.value, order.subject) == (
        f"modelendpoint.dev/{word}",
        str(revision),
        f"revision {revision}",
    )


def test_a_named_revision_is_meant_whatever_is_obvious() -> None:
    assert give(a_body(ROLLING), "promote", revision=7).value == "7"


@pytest.mark.parametrize(
    ("before", "value"), [("1", "2"), ("2", "2/2"), ("2/2", "2/3"), ("2/again", "2/2"), ("20", "2")]
)
def test_the_same_order_again_has_another_value(before: str, value: str) -> None:
    assert give(a_body(ROLLING, promote=before), "promote", revision=None).value == value


@pytest.mark.parametrize(
    ("word", "said"), [("promote", "No rollout is under way for churn"), ("retry", "No revision of churn was rejected")]
)
def test_an_order_that_means_nothing_is_refused(word: str, said: str) -> None:
    with pytest.raises(CliError, match=said):
        give(a_body({"stable": {"revision": 1}, "history": [{"revision": 1}]}), word, revision=None)


def test_an_order_that_the_engine_does_not_know_is_refused() -> None:
    with pytest.raises(CliError, match="does not know explode; it knows promote, abort"):
        give(a_body(ROLLING), "explode", revision=None)


@pytest.mark.parametrize(
    ("word", "revision", "rollout", "waits"),
    [
        ("promote", None, {"phase": "Holding"}, True),
        ("promote", None, {"phase": "Deploying"}, True),
        ("promote", None, {"phase": "Paused"}, False),
        ("promote", None, {"phase": "Deploying", "heldBy": "http/ready"}, False),
        ("promote", 7, {"phase": "Holding"}, False),
        ("abort", None, {"phase": "Holding"}, False),
    ],
)
def test_a_promote_for_a_candidate_that_nothing_holds_waits_for_its_pause(
    word: str, revision: int | None, rollout: dict[str, str], waits: bool
) -> None:
    body = a_body({**ROLLING, "rollout": rollout})
    assert waits_for_a_pause(body, give(body, word, revision=revision)) is waits

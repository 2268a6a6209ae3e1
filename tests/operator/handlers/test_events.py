"""From a watch event to a key in the queue."""

import asyncio
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.handlers.events import build_registry
from modelendpoint_operator.handlers.keys import Key, parent_of
from modelendpoint_operator.watchdog import Watchdog
from modelendpoint_operator.workqueue import WorkQueue


@pytest.fixture
def queue() -> WorkQueue[Key]:
    return WorkQueue()


def a_body(**labels: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "x", "resourceVersion": "1", "labels": labels}}


def tell(queue: WorkQueue[Key], plural: str, body: dict[str, Any]) -> None:
    """Call the handlers of a kind as kopf does."""
    registry = build_registry(queue, Watchdog())
    found = [handler for handler in registry._watching.get_all_handlers() if plural in str(handler.selector)]
    assert found, plural
    for handler in found:
        call: Any = handler.fn
        asyncio.run(call(event={"type": "MODIFIED", "object": body}))


def taken(queue: WorkQueue[Key]) -> set[Key]:
    keys = set()
    while (key := queue.take(timeout=0)) is not None:
        keys.add(key)
    return keys


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({names.LABEL_ENDPOINT: "churn"}, Key(names.KIND, "shop", "churn")),
        ({names.LABEL_BATCH: "weekly"}, Key(names.BATCH_KIND, "shop", "weekly")),
        ({names.LABEL_SCHEDULE: "weekly"}, Key(names.BATCH_KIND, "shop", "weekly")),
        ({"app": "theirs"}, None),
        ({}, None),
    ],
)
def test_a_child_names_its_parent(labels: dict[str, str], key: Key | None) -> None:
    assert parent_of(a_body(**labels)["metadata"]) == key


@pytest.mark.parametrize(
    ("plural", "labels", "keys"),
    [
        (names.PLURAL, {}, {Key(names.KIND, "shop", "x")}),
        (names.BATCH_PLURAL, {}, {Key(names.BATCH_KIND, "shop", "x")}),
        (
            names.BATCH_PLURAL,
            {names.LABEL_SCHEDULE: "weekly"},
            {Key(names.BATCH_KIND, "shop", "x"), Key(names.BATCH_KIND, "shop", "weekly")},
        ),
        (
            names.BATCH_PLURAL,
            {names.LABEL_ENDPOINT: "churn", names.LABEL_GATE: "recorded"},
            {Key(names.BATCH_KIND, "shop", "x"), Key(names.KIND, "shop", "churn")},
        ),
        ("jobs", {names.LABEL_BATCH: "weekly"}, {Key(names.BATCH_KIND, "shop", "weekly")}),
        ("pods", {names.LABEL_BATCH: "weekly"}, {Key(names.BATCH_KIND, "shop", "weekly")}),
        ("pods", {names.LABEL_ENDPOINT: "churn"}, {Key(names.KIND, "shop", "churn")}),
        ("deployments", {names.LABEL_ENDPOINT: "churn"}, {Key(names.KIND, "shop", "churn")}),
    ],
)
def test_an_event_of_a_kind_wakes(queue: WorkQueue[Key], plural: str, labels: dict[str, str], keys: set[Key]) -> None:
    tell(queue, plural, a_body(**labels))
    assert taken(queue) == keys

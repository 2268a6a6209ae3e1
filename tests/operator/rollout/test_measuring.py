"""From the routers' counters to counts of a period."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator.api.status import BaselineStatus, CountsStatus
from modelendpoint_operator.observation import Counters, Observation, RouterSeen
from modelendpoint_operator.rollout.gates.finding import Bucket, Counts
from modelendpoint_operator.rollout.measuring import as_status, baseline_of, counts_ever, counts_since, from_status

FAST, SLOW = (2.0, 3.0), (120.0, 130.0)


def a_router(name: str, counted: Mapping[int, Counters] | None) -> RouterSeen:
    """A router with its counters; None is one that did not answer."""
    version = None if counted is None else "v1"
    return RouterSeen(name=name, terminating=False, config=None, route_version=version, counted=counted or {})


def seen(**routers: Mapping[int, Counters] | None) -> Observation:
    return Observation(routers=tuple(a_router(name, counted) for name, counted in routers.items()))


def counters(answers: int, *, client: int = 0, server: int = 0, slow: int = 0) -> Counters:
    latency = {FAST: answers - slow, **({SLOW: slow} if slow else {})}
    return Counters(answers=answers, client_errors=client, server_errors=server, latency=latency)


def test_what_was_counted_before_is_taken_off_router_by_router() -> None:
    before = seen(a={8: counters(100, server=10, slow=7)}, b={8: counters(50, client=3)})
    baseline = baseline_of(before, [8], latency=True)
    now = seen(a={8: counters(130, server=14, slow=9)}, b={8: counters(55, client=5)})

    assert counts_since(baseline, before, 8) == Counts()
    assert counts_since(baseline, now, 8) == Counts(
        answers=35,
        client_errors=2,
        server_errors=4,
        latency=(
            Bucket(lower_ms=2, upper_ms=3, answers=33),
            Bucket(lower_ms=120, upper_ms=130, answers=2),
        ),
    )


def test_each_revision_has_counts_of_its_own() -> None:
    baseline = baseline_of(seen(a={7: counters(5), 8: counters(1)}), [7, 8], latency=False)
    now = seen(a={7: counters(11), 8: counters(3)})

    assert [counts_since(baseline, now, revision).answers for revision in (7, 8)] == [6, 2]


def test_a_revision_that_a_router_has_counted_nothing_for_began_at_nothing() -> None:
    baseline = baseline_of(seen(a={}), [8], latency=False)

    assert counts_since(baseline, seen(a={8: counters(4)}), 8).answers == 4
    assert counts_since(baseline, seen(a={}), 8) == Counts()


def test_a_router_that_comes_later_counts_from_when_it_was_seen() -> None:
    baseline = baseline_of(seen(a={8: counters(1)}), [8], latency=False)
    completed = baseline_of(seen(a={8: counters(2)}, b={8: counters(500)}), [8], latency=False, known=baseline)

    assert counts_since(completed, seen(a={8: counters(2)}, b={8: counters(503)}), 8).answers == 1 + 3


@pytest.mark.parametrize(
    "anew", [counters(3), counters(100, server=1), counters(100, client=1, server=10)], ids=["all", "server", "client"]
)
def test_a_router_that_counts_less_has_started_anew_and_counts_from_nothing(anew: Counters) -> None:
    baseline = baseline_of(seen(a={8: counters(100, client=5, server=10)}), [8], latency=True)
    renewed = baseline_of(seen(a={8: anew}), [8], latency=True, known=baseline)

    assert renewed == [BaselineStatus(router="a", revision=8, latency="")]
    later = seen(a={8: counters(150)})
    assert counts_since(renewed, later, 8).answers == 150


def test_a_router_that_does_not_answer_changes_no_baseline_and_is_left_out() -> None:
    baseline = baseline_of(seen(a={8: counters(10)}, b={8: counters(10)}), [8], latency=False)
    silent = seen(a={8: counters(15)}, b=None)

    assert baseline_of(silent, [8], latency=False, known=baseline) == baseline
    assert counts_since(baseline, silent, 8).answers == 5
    assert baseline_of(seen(b=None), [8], latency=False) == []


def test_a_router_that_is_gone_takes_its_counts_along() -> None:
    baseline = baseline_of(seen(a={8: counters(10)}, b={8: counters(10)}), [8], latency=False)

    assert counts_since(baseline, seen(a={8: counters(12)}), 8).answers == 2


def test_the_same_look_again_changes_nothing() -> None:
    look = seen(a={7: counters(9, slow=2), 8: counters(3)}, b={7: counters(4)})
    baseline = baseline_of(look, [7, 8], latency=True)

    assert baseline_of(look, [7, 8, 7], latency=True, known=baseline) == baseline


def test_times_are_remembered_only_where_a_gate_looks_at_them() -> None:
    look = seen(a={8: counters(9, slow=2)})
    without = baseline_of(look, [8], latency=False)
    assert [entry.latency for entry in without] == [None]

    # A gate that is added in mid-step begins with what is there by then.
    later = seen(a={8: counters(20, slow=5)})
    with_times = baseline_of(later, [8], latency=True, known=without)
    assert [(entry.answers, entry.latency) for entry in with_times] == [(9, "2-3:15 120-130:5")]
    assert counts_since(with_times, seen(a={8: counters(21, slow=6)}), 8).latency == (
        Bucket(lower_ms=120, upper_ms=130, answers=1),
    )


def test_an_error_is_never_counted_without_its_answer() -> None:
    torn = seen(a={8: Counters(answers=3, client_errors=1, server_errors=3)})

    assert counts_ever(torn, 8).answers == 4


def test_everything_that_the_routers_know_is_their_sum() -> None:
    look = seen(a={7: counters(90, server=9)}, b={7: counters(10)}, c=None)

    ever = counts_ever(look, 7)
    assert (ever.answers, ever.server_errors) == (100, 9)
    assert counts_ever(look, 8) == Counts()


numbers = st.integers(0, 10**9)
buckets = st.dictionaries(st.integers(0, 10**6), st.integers(1, 10**9), max_size=30).map(
    lambda bins: tuple(
        Bucket(lower_ms=float(lower), upper_ms=float(lower + 1), answers=answers)
        for lower, answers in sorted(bins.items())
    )
)


@given(numbers, numbers, numbers, buckets)
def test_counts_survive_the_status(answers: int, client: int, server: int, latency: tuple[Bucket, ...]) -> None:
    total = answers + client + server
    counts = Counts(answers=total, client_errors=client, server_errors=server, latency=latency)
    written = as_status(counts).model_dump(mode="json", by_alias=True, exclude_none=True)

    assert from_status(CountsStatus.model_validate(written)) == counts

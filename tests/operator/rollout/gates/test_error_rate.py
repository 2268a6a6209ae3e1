"""The gate on failed requests."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelendpoint_operator.api.gates import ErrorRateGate
from modelendpoint_operator.rollout.gates.error_rate import judge
from modelendpoint_operator.rollout.gates.finding import Counts, Finding, Verdict


def judged(
    candidate: tuple[int, int],
    stable: tuple[int, int] | None,
    *,
    gate: ErrorRateGate | None = None,
    minimum_requests: int = 50,
    alpha: float = 0.025,
) -> Finding:
    """Judge failed requests of all requests."""
    counts = [Counts(answers=size, server_errors=failed) for failed, size in (candidate, stable or (0, 0))]
    return judge(
        gate or ErrorRateGate(max_increase_percent=2),
        candidate=counts[0],
        stable=counts[1] if stable else None,
        minimum_requests=minimum_requests,
        alpha=alpha,
    )


@pytest.mark.parametrize(
    ("candidate", "stable", "verdict"),
    [
        pytest.param((60, 1204), (43, 10874), Verdict.FAIL, id="clearly worse fails"),
        pytest.param((5, 5), (0, 45), Verdict.FAIL, id="nothing but errors fails within five requests"),
        pytest.param((2, 1204), (43, 10874), Verdict.PASS, id="as good passes"),
        pytest.param((0, 400), (0, 3600), Verdict.PASS, id="faultless passes"),
        pytest.param((0, 5000), (2500, 45000), Verdict.PASS, id="better passes"),
        pytest.param((28, 1204), (43, 10874), Verdict.INSUFFICIENT_DATA, id="close to what is allowed waits"),
        pytest.param((0, 30), (0, 270), Verdict.INSUFFICIENT_DATA, id="few requests wait"),
        pytest.param((1, 3), (0, 27), Verdict.INSUFFICIENT_DATA, id="a single early error waits"),
        pytest.param((0, 0), (43, 10874), Verdict.INSUFFICIENT_DATA, id="no requests wait"),
        pytest.param((0, 400), (0, 0), Verdict.PASS, id="faultless passes whatever stable would have done"),
        pytest.param((40, 400), (0, 0), Verdict.INSUFFICIENT_DATA, id="errors wait while stable has no requests"),
        pytest.param((0, 400), None, Verdict.PASS, id="faultless passes without a stable revision"),
        pytest.param((40, 400), None, Verdict.FAIL, id="errors fail without a stable revision"),
        pytest.param((3, 100), None, Verdict.INSUFFICIENT_DATA, id="few requests wait without a stable revision"),
        pytest.param((10**8, 10**9), (5 * 10**7, 10**9), Verdict.FAIL, id="huge counts fail"),
        pytest.param((5 * 10**7, 10**9), (5 * 10**7, 10**9), Verdict.PASS, id="huge counts pass"),
    ],
)
def test_verdict(candidate: tuple[int, int], stable: tuple[int, int] | None, verdict: Verdict) -> None:
    assert judged(candidate, stable).verdict is verdict


def test_the_numbers_are_percentage_points() -> None:
    finding = judged((60, 1204), (43, 10874))

    assert finding.effect == pytest.approx(100 * (60 / 1204 - 43 / 10874))
    assert finding.lower == pytest.approx(2.64, abs=0.05)
    assert finding.upper == pytest.approx(7.2, abs=0.05)
    assert (finding.threshold, finding.candidate_requests, finding.stable_requests) == (2, 1204, 10874)
    assert finding.missing_requests is None


def test_the_message_has_all_that_decides() -> None:
    assert judged((60, 1204), (43, 10874)).message == (
        "errorRate: candidate 5 % of 1,204 requests failed, stable 0.4 % of 10,874; "
        "the difference is between +2.6 and +7.2 points, allowed are 2"
    )


def test_the_message_says_how_much_is_missing() -> None:
    finding = judged((0, 30), (1, 270))

    assert finding.message == (
        "errorRate: candidate 0 % of 30 requests failed, stable 0.37 % of 270; the difference is between "
        f"-3.1 and +18 points, allowed are 2; about {finding.missing_requests} more requests of the candidate "
        "are needed to tell"
    )


def test_the_message_without_a_stable_revision_is_of_shares() -> None:
    assert judged((40, 400), None).message == (
        "errorRate: candidate 10 % of 400 requests failed; its share is between 5.8 and 15.6 %, allowed are 2"
    )


def test_the_message_of_a_revision_without_requests_says_so() -> None:
    assert "candidate had no requests, stable 5 % of 100 requests failed;" in judged((0, 0), (5, 100)).message
    assert "candidate 5 % of 100 requests failed, stable had no requests;" in judged((5, 100), (0, 0)).message


def test_numbers_in_the_message_never_contradict_the_verdict() -> None:
    finding = judged((60, 1204), (43, 10874), gate=ErrorRateGate(max_increase_percent=2.63))

    assert finding.verdict is Verdict.FAIL
    assert "between +2.64 and" in finding.message


def test_an_effect_that_is_what_is_allowed_is_too_close_to_call() -> None:
    finding = judged((30_000, 10**6), (10_000, 10**6))

    assert (finding.verdict, finding.missing_requests) == (Verdict.INSUFFICIENT_DATA, None)
    assert finding.message.endswith("; that is too close to call")


def test_client_errors_count_unless_they_are_left_out() -> None:
    counts = {"candidate": Counts(answers=400, client_errors=80), "stable": Counts(answers=3600, client_errors=7)}
    counting, ignoring = ErrorRateGate(max_increase_percent=2), ErrorRateGate(count_client_errors=False)

    assert judge(counting, **counts, minimum_requests=50, alpha=0.025).verdict is Verdict.FAIL
    assert judge(ignoring, **counts, minimum_requests=50, alpha=0.025).verdict is Verdict.PASS


def test_a_pass_waits_for_the_minimum_of_requests() -> None:
    finding = judged((0, 400), (0, 3600), minimum_requests=1000)

    assert (finding.verdict, finding.missing_requests) == (Verdict.INSUFFICIENT_DATA, 600)


def test_a_fail_does_not_wait_for_the_minimum_of_requests() -> None:
    assert judged((5, 5), (0, 45), minimum_requests=1000).verdict is Verdict.FAIL


shares = st.floats(0, 0.3)


@given(shares, shares, st.integers(20, 2000), st.floats(0.5, 10))
def test_about_as_many_requests_as_are_missing_decide(
    share: float, stable_share: float, size: int, ratio: float
) -> None:
    stable = (round(stable_share * size * ratio), round(size * ratio))
    candidate = (round(share * size), size)
    # With few failures, rounding what would be more of the same changes what it is.
    assume(all(failed == 0 or failed >= 30 for failed in (candidate[0], stable[0])))
    before = judged(candidate, stable)
    if before.missing_requests is None:
        return
    factor = 1 + before.missing_requests / size

    def grown(factor: float) -> Verdict:
        parts = [tuple(round(count * factor) for count in counts) for counts in (candidate, stable)]
        return judged((parts[0][0], parts[0][1]), (parts[1][0], parts[1][1])).verdict

    assert grown(factor * 1.1) is not Verdict.INSUFFICIENT_DATA
    if factor > 2:
        assert grown(factor / 1.6) is Verdict.INSUFFICIENT_DATA


def test_what_is_missing_at_first_is_estimated_from_the_stable_revision() -> None:
    missing = judged((0, 0), (20, 2000)).missing_requests

    assert missing is not None
    assert judged((missing // 100, missing), (20, 2000)).verdict is Verdict.PASS
    assert judged((0, 0), (0, 0)).missing_requests is not None


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 5000))
def test_a_failed_request_more_never_helps_the_candidate(failed: int, served: int, stable_failed: int) -> None:
    order = [Verdict.PASS, Verdict.INSUFFICIENT_DATA, Verdict.FAIL]
    fewer = judged((failed, failed + served + 1), (stable_failed, 5000))
    more = judged((failed + 1, failed + served + 1), (stable_failed, 5000))

    assert order.index(more.verdict) >= order.index(fewer.verdict)

"""What comparisons have in common: verdicts, what is missing, and wording."""

import pytest

from modelendpoint_operator.rollout.gates.comparison import (
    Interval,
    missing_requests,
    missing_text,
    number_text,
    percent_text,
    verdict_on,
)
from modelendpoint_operator.rollout.gates.finding import Verdict


@pytest.mark.parametrize(
    ("interval", "is_enough", "verdict"),
    [
        (Interval(2.1, 5), True, Verdict.FAIL),
        (Interval(2.1, 5), False, Verdict.FAIL),
        (Interval(2, 5), True, Verdict.INSUFFICIENT_DATA),
        (Interval(-1, 2), True, Verdict.PASS),
        (Interval(-1, 2), False, Verdict.INSUFFICIENT_DATA),
        (Interval(-1, 2.1), True, Verdict.INSUFFICIENT_DATA),
    ],
)
def test_an_interval_decides_when_all_of_it_is_on_one_side(
    interval: Interval, is_enough: bool, verdict: Verdict
) -> None:
    assert verdict_on(interval, 2, is_enough=is_enough) is verdict


@pytest.mark.parametrize("wanted", [1.0, 1.3, 7.0, 100.0, 3000.0])
def test_the_estimate_is_enough_and_at_most_a_quarter_too_much(wanted: float) -> None:
    missing = missing_requests(lambda factor: factor >= wanted, size=1000, answered=1000, minimum=0)

    assert missing is not None
    assert wanted * 1000 <= 1000 + missing <= wanted * 1250 + 1


def test_what_no_number_of_requests_tells_has_no_estimate() -> None:
    assert missing_requests(lambda factor: False, size=1000, answered=1000, minimum=50) is None
    assert missing_text(None) == "that is too close to call"


def test_the_minimum_may_be_what_is_missing() -> None:
    assert missing_requests(lambda factor: True, size=20, answered=20, minimum=50) == 30
    assert missing_text(1234) == "about 1,234 more requests of the candidate are needed to tell"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.0321, "3.2 %"), (0.05, "5 %"), (0.00123, "0.12 %"), (1e-9, "0 %"), (0.9996, "100 %")],
)
def test_shares_are_written_with_what_matters(share: float, text: str) -> None:
    assert percent_text(share) == text


@pytest.mark.parametrize(
    ("value", "beside", "text"),
    [
        (1.94, 2, "+1.9"),
        (2.004, 2, "+2.004"),
        (1.97, 2, "+2"),
        (-0.01, 2, "0"),
        (1234.56, 2, "+1,234.6"),
        (20, 2, "+20"),
    ],
)
def test_numbers_stay_on_their_side_of_what_is_allowed(value: float, beside: float, text: str) -> None:
    assert number_text(value, beside=beside, sign="+") == text

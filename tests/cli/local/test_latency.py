"""Percentiles for people."""

import pytest

from modelendpoint.local.latency import percentile

COUNTED = {(0.0, 1.0): 50, (2.0, 3.0): 49, (10.0, 11.0): 1}


@pytest.mark.parametrize(("percent", "milliseconds"), [(50, 1.0), (51, 3.0), (99, 3.0), (99.5, 11.0), (100, 11.0)])
def test_a_percentile_is_the_upper_end_of_its_bin(percent: float, milliseconds: float) -> None:
    assert percentile(COUNTED, percent) == milliseconds


def test_before_the_first_answer_there_is_none() -> None:
    assert percentile({}, 50) is None
    assert percentile({(0.0, 1.0): 0}, 50) is None

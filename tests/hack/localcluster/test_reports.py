"""How a node is, by what its process 1 reports; and what logs tell."""

import pytest

from localcluster.logs import LINES, choose_lines
from localcluster.reports import TOO_MANY_STARTS, PartReport, is_hopeless, list_trouble, read_report, write_report

READY = PartReport("ready", 0, 1.0)
ENDED = PartReport("ended", TOO_MANY_STARTS, 2.0)


def test_a_report_survives_being_written_down() -> None:
    assert read_report(write_report({"etcd": READY})) == {"etcd": READY}


def test_parts_that_are_not_ready_and_parts_that_are_missing_are_trouble() -> None:
    assert list_trouble(["etcd", "kubelet", "coredns"], {"etcd": READY, "kubelet": ENDED}) == [
        "kubelet is ended",
        "coredns is not there",
    ]
    assert list_trouble(["etcd"], {"etcd": READY}) == []


@pytest.mark.parametrize(
    ("part", "hopeless"),
    [
        (READY, False),
        (PartReport("ready", TOO_MANY_STARTS, 1.0), False),
        (PartReport("ended", TOO_MANY_STARTS - 1, 1.0), False),
        (ENDED, True),
    ],
)
def test_there_is_no_hope_once_a_part_has_ended_too_often(part: PartReport, hopeless: bool) -> None:
    assert is_hopeless([READY, part]) is hopeless


def test_a_log_tells_its_last_lines_of_trouble() -> None:
    log = ["I1124 all good", "E1124 21:45:01 broken pipe", "panic: no route", "I1124 going on", ""]
    assert choose_lines(log) == ["E1124 21:45:01 broken pipe", "panic: no route"]


def test_a_log_without_trouble_tells_its_last_lines() -> None:
    assert choose_lines(f"line {number}" for number in range(100)) == [f"line {number}" for number in range(92, 100)]
    assert LINES == 8

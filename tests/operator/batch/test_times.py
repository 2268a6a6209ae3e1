"""Times of a schedule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelendpoint_operator.api.batch import Schedule
from modelendpoint_operator.batch.times import (
    MOST_MISSED,
    Due,
    due_since,
    fill_placeholders,
    minute_of,
    next_time,
    placeholder_values,
)

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def a_schedule(cron: str, **fields: Any) -> Schedule:
    return Schedule(cron=cron, **fields)


@pytest.mark.parametrize(
    ("cron", "since", "now", "due"),
    [
        ("0 * * * *", NOON, NOON + timedelta(minutes=59), None),
        ("0 * * * *", NOON, NOON + timedelta(minutes=60), Due(latest=NOON + timedelta(hours=1), earlier=0)),
        ("0 * * * *", NOON, NOON + timedelta(hours=3.5), Due(latest=NOON + timedelta(hours=3), earlier=2)),
        ("*/15 * * * *", NOON, NOON + timedelta(minutes=31), Due(latest=NOON + timedelta(minutes=30), earlier=1)),
    ],
)
def test_times_that_came_up(cron: str, since: datetime, now: datetime, due: Due | None) -> None:
    assert due_since(a_schedule(cron), since, now=now) == due


def test_after_a_very_long_time_the_latest_one_is_right_and_the_others_are_not_counted_to_the_end() -> None:
    due = due_since(a_schedule("* * * * *"), NOON, now=NOON + timedelta(days=30, seconds=5))

    assert due == Due(latest=NOON + timedelta(days=30), earlier=MOST_MISSED - 1)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # 02:30 does not exist on the day when clocks go forward: it comes at once after the gap, as in Debian's cron.
        (datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        # It exists twice on the day when they go back: it comes once.
        (datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),
    ],
)
def test_each_day_has_one_run_when_clocks_change(after: datetime, expected: datetime) -> None:
    assert next_time(a_schedule("30 2 * * *", time_zone="Europe/Berlin"), after) == expected


def test_two_times_are_never_the_same_minute() -> None:
    schedule = a_schedule("*/7 * * * *", time_zone="America/New_York")
    time, minutes = datetime(2026, 11, 1, tzinfo=UTC), []
    for _ in range(400):
        following = next_time(schedule, time)
        assert following is not None and following > time
        time = following
        minutes.append(minute_of(time))
    assert len(set(minutes)) == 400


def test_placeholders_stand_for_the_time_in_the_schedules_zone() -> None:
    schedule = a_schedule("0 0 * * *", time_zone="Asia/Tokyo")
    values = placeholder_values(schedule, datetime(2026, 1, 31, 15, 0, tzinfo=UTC), run="weekly-1")
    uri = "s3://r/dt={{ .ScheduledDate }}/h={{.ScheduledHour}}/{{ .ScheduledTime }}/{{ .Run }}/"

    assert fill_placeholders(uri, values) == "s3://r/dt=2026-02-01/h=00/20260201T0000/weekly-1/"

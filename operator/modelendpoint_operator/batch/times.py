"""Times of a schedule, by cronsim (as Debian's cron, also when clocks change), and what they put into URIs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from modelendpoint_operator.api.batch import Schedule

MOST_MISSED = 1000
"""More missed runs than this are not counted one by one."""

_PLACEHOLDER = re.compile(r"\{\{ ?\.([A-Za-z]+) ?\}\}")


class InvalidSchedule(ValueError):
    """A schedule that can't be understood; the message names the field and the next step."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """The times that came up since a schedule was looked at."""

    latest: datetime
    earlier: int
    """Number of due times before the latest one."""


def in_force(schedule: Schedule) -> str:
    """Name the times of a schedule; other times have another name."""
    return f"{schedule.cron} {schedule.time_zone}"


def due_since(schedule: Schedule, since: datetime, *, now: datetime) -> Due | None:
    """Find the times after ``since`` that have come up; None when there is none."""
    times = _times(schedule, since)
    due = []
    for time in islice(times, MOST_MISSED):
        if time > now:
            break
        due.append(time)
    if not due:
        return None
    if len(due) == MOST_MISSED:
        due[-1] = next(_times(schedule, now + timedelta(seconds=1), reverse=True))
    return Due(latest=due[-1].astimezone(UTC), earlier=len(due) - 1)


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """Find the next time; None when there is none within 50 years."""
    found = next(_times(schedule, after), None)
    return None if found is None else found.astimezone(UTC)


def minute_of(time: datetime) -> int:
    """Count the minutes since 1970, as CronJobs do for the names of their Jobs."""
    return int(time.timestamp()) // 60


def fill_placeholders(uri: str, values: Mapping[str, str]) -> str:
    """Put values in for the placeholders of a URI."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), uri)


def placeholder_values(schedule: Schedule, time: datetime, *, run: str) -> dict[str, str]:
    """Say what the placeholders stand for in the run of a time."""
    local = time.astimezone(_zone(schedule))
    return {
        "ScheduledDate": local.strftime("%Y-%m-%d"),
        "ScheduledHour": local.strftime("%H"),
        "ScheduledTime": local.strftime("%Y%m%dT%H%M"),
        "Run": run,
    }


def _times(schedule: Schedule, start: datetime, *, reverse: bool = False) -> CronSim:
    try:
        return CronSim(schedule.cron, start.astimezone(_zone(schedule)), reverse=reverse)
    except CronSimError as error:
        raise InvalidSchedule(f"spec.schedule.cron: {error}; five fields as in crontab(5) are expected") from error


def _zone(schedule: Schedule) -> ZoneInfo:
    try:
        return ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"spec.schedule.timeZone: {schedule.time_zone} is not a time zone; use a name such as Europe/Berlin"
        raise InvalidSchedule(message) from error

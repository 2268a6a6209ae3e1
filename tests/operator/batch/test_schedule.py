"""Runs of a schedule: when they start, what stops them, what is told of those that do not start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelendpoint_operator import names
from support.batch_world import EPOCH, BatchWorld, a_schedule
from support.kstatus import kstatus

HOUR = timedelta(hours=1)


def run_at(time: datetime) -> str:
    return f"weekly-{int(time.timestamp()) // 60}"


def runs(world: BatchWorld) -> list[str]:
    return [name for name in world.kept("BatchPrediction") if name != "weekly"]


def a_world(cron: str = "0 * * * *", **schedule: Any) -> BatchWorld:
    world = BatchWorld()
    world.apply(**a_schedule(cron, **schedule))
    world.turn()
    return world


def hour(world: BatchWorld, count: int = 1) -> None:
    """Go to the next full hour, and a little on."""
    following = EPOCH + HOUR * ((world.now - EPOCH) // HOUR + count)
    world.move_to(following)
    world.turn(3)


def finish(world: BatchWorld) -> None:
    for name in runs(world):
        world.until("Complete", name=name)


def test_a_schedule_waits_for_its_time_and_is_current_meanwhile() -> None:
    world = a_world()

    assert (world.reason(), kstatus(world.body())) == ("Scheduled", "Current")
    assert world.status()["schedule"]["nextScheduleTime"] == "2026-01-01T01:00:00Z"
    assert runs(world) == []


def test_a_run_that_is_due_is_a_batch_prediction_of_its_own() -> None:
    world = a_world()
    hour(world)

    name = run_at(EPOCH + HOUR)
    assert runs(world) == [name]
    body = world.body(name)
    assert body["spec"]["output"]["uri"] == "s3://reports/at=20260101T0100/"
    assert "schedule" not in body["spec"]
    assert body["metadata"]["labels"][names.LABEL_SCHEDULE] == "weekly"
    assert body["metadata"]["ownerReferences"][0]["uid"] == world.body()["metadata"]["uid"]
    schedule = world.status()["schedule"]
    assert (schedule["lastRun"], schedule["active"]) == (name, [name])
    finish(world)
    world.turn()
    schedule = world.status()["schedule"]
    assert "active" not in schedule or schedule["active"] == []
    assert schedule["lastSuccessfulTime"]
    assert world.told().count("RunStarted") == 1


@pytest.mark.parametrize("write", range(4))
def test_an_operator_that_is_killed_at_any_write_starts_each_run_once(write: int) -> None:
    world = a_world()
    world.api.crash_at = world.api.writes + write
    hour(world)
    world.turn(2)

    assert runs(world) == [run_at(EPOCH + HOUR)]
    assert world.told().count("RunStarted") <= 1
    schedule = world.status()["schedule"]
    assert (schedule["lastRun"], schedule["missedRuns"]) == (run_at(EPOCH + HOUR), 0)
    finish(world)
    hour(world)
    assert len(runs(world)) == 2


def test_times_that_passed_with_the_operator_down_are_missed_but_for_the_latest() -> None:
    world = a_world()
    hour(world, count=5)

    assert runs(world) == [run_at(EPOCH + 5 * HOUR)]
    assert world.status()["schedule"]["missedRuns"] == 4
    assert "RunsMissed" in world.told()


def test_a_run_that_is_too_late_is_missed_and_told_of() -> None:
    world = a_world(startingDeadlineSeconds=60)
    world.move_to(EPOCH + HOUR + timedelta(seconds=61))

    assert runs(world) == []
    missed = world.status()["schedule"]["lastMissed"]
    assert missed == {"time": "2026-01-01T01:00:00Z", "reason": "TooLate"}
    assert world.told() == ["RunMissed"]
    world.move_to(EPOCH + 2 * HOUR + timedelta(seconds=59))
    assert runs(world) == [run_at(EPOCH + 2 * HOUR)]


def test_forbid_skips_a_run_while_the_last_one_works() -> None:
    world = a_world()
    hour(world)
    hour(world)

    assert runs(world) == [run_at(EPOCH + HOUR)]
    assert world.status()["schedule"]["lastMissed"]["reason"] == "StillRunning"
    assert "RunMissed" in world.told()
    finish(world)
    hour(world)
    assert runs(world) == [run_at(EPOCH + HOUR), run_at(EPOCH + 3 * HOUR)]


def test_allow_lets_both_work() -> None:
    world = a_world(concurrencyPolicy="Allow")
    hour(world)
    hour(world)

    assert world.status()["schedule"]["active"] == [run_at(EPOCH + HOUR), run_at(EPOCH + 2 * HOUR)]


def test_replace_stops_the_earlier_run() -> None:
    world = a_world(concurrencyPolicy="Replace")
    hour(world)
    hour(world)

    assert runs(world) == [run_at(EPOCH + 2 * HOUR)]
    assert world.status()["schedule"]["active"] == [run_at(EPOCH + 2 * HOUR)]
    assert "RunReplaced" in world.told()


def test_a_suspended_schedule_starts_nothing_and_makes_up_for_nothing() -> None:
    world = a_world()
    world.apply(suspend=True)
    hour(world, count=2)
    assert (world.reason(), kstatus(world.body()), runs(world)) == ("Suspended", "Current", [])

    world.apply(suspend=False)
    world.turn()
    assert runs(world) == []
    assert world.status()["schedule"]["lastMissed"]["reason"] == "Suspended"
    hour(world)
    assert len(runs(world)) == 1


def test_other_times_begin_when_they_are_written_not_in_their_past() -> None:
    world = a_world("0 18 * * *")
    world.move_to(EPOCH + timedelta(hours=12))
    world.apply(**a_schedule("0 8 * * *"))
    world.turn()

    assert runs(world) == []
    assert world.status()["schedule"]["nextScheduleTime"] == "2026-01-02T08:00:00Z"


def test_only_the_latest_runs_of_each_kind_are_kept() -> None:
    world = a_world(successfulRunsHistoryLimit=2, failedRunsHistoryLimit=1)
    for _ in range(4):
        hour(world)
        finish(world)
    world.turn(2)
    completed = [run_at(EPOCH + count * HOUR) for count in (3, 4)]
    assert runs(world) == completed
    world.failing["plan"] = {"reason": "MissingColumn", "message": "no"}
    for _ in range(3):
        hour(world)
        world.until("MissingColumn", name=runs(world)[-1])
    world.turn(2)

    assert runs(world) == [*completed, run_at(EPOCH + 7 * HOUR)]


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [
        ("61 * * * *", "Etc/UTC", "spec.schedule.cron: Bad minute"),
        ("* * */20 * 1L", "Etc/UTC", "has no time in the next 50 years"),
        ("0 0 * * *", "Mars/Olympus", "spec.schedule.timeZone: Mars/Olympus is not a time zone"),
        ("0 0 * * *", "/etc/passwd", "is not a time zone"),
    ],
)
def test_a_schedule_that_can_not_be_understood_is_named(cron: str, zone: str, words: str) -> None:
    world = a_world(cron, timeZone=zone)

    assert words in world.condition("Stalled")["message"]  # type: ignore[index]
    world.apply(**a_schedule("0 * * * *"))
    world.turn()
    hour(world)
    assert len(runs(world)) == 1


def test_the_clock_of_the_schedules_zone_counts_and_fills_the_placeholders() -> None:
    world = a_world("30 6 * * *", timeZone="Europe/Berlin")
    world.move_to(datetime(2026, 7, 1, 4, 30, 5, tzinfo=UTC))
    world.turn()

    (name,) = runs(world)
    assert world.body(name)["spec"]["output"]["uri"] == "s3://reports/at=20260701T0630/"


def test_a_deleted_schedule_takes_its_runs_along() -> None:
    world = a_world()
    hour(world)
    world.api.remove("BatchPrediction", "weekly")
    world.turn(2)

    assert world.kept("BatchPrediction") == world.kept("Job") == []

"""Whatever happens to a run, in whatever order: it ends, each shard is committed once, and status tells the truth."""

import random
from datetime import datetime, timedelta

import pytest

from support.batch_world import EPOCH, BatchWorld, a_schedule
from support.kstatus import kstatus


class Faults:
    """Does something bad to a world, or something that people do."""

    def __init__(self, world: BatchWorld, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)
        self.done: list[str] = []

    def happen(self) -> None:
        fault = self._random.choice([None, None, None, *self._faults()])
        if fault is not None:
            self.done.append(fault)
            getattr(self, fault)()

    def _faults(self) -> list[str]:
        return [
            "kill_a_worker",
            "kill_the_operator",
            "lose_the_api_server",
            "lose_events",
            "sweep_pods",
            "delete_a_job",
            "suspend",
            "go_on",
        ]

    def kill_a_worker(self) -> None:
        running = self._world.running()
        if running:
            self._world.kill(self._random.choice(running))

    def kill_the_operator(self) -> None:
        self._world.api.crash_at = self._world.api.writes + self._random.randrange(3)

    def lose_the_api_server(self) -> None:
        self._world.api.down = True
        self._world.turn(self._random.randrange(1, 4))
        self._world.api.down = False

    def lose_events(self) -> None:
        self._world.deaf = not self._world.deaf

    def sweep_pods(self) -> None:
        for pod in self._world.kept("Pod"):
            if self._world.api.objects["Pod", pod]["status"]["phase"] in ("Succeeded", "Failed"):
                self._world.api.remove("Pod", pod)

    def delete_a_job(self) -> None:
        jobs = self._world.kept("Job")
        if jobs:
            self._world.api.remove("Job", self._random.choice(jobs))

    def suspend(self) -> None:
        if self._world.status().get("phase") not in ("Complete", "Failed"):
            self._world.apply(suspend=True)

    def go_on(self) -> None:
        self._world.apply(suspend=False)


@pytest.mark.parametrize("seed", range(60))
def test_a_run_ends_whole_after_any_faults(seed: int) -> None:
    world = BatchWorld()
    world.store.shards = [10] * 9
    world.store.rejected = {4: 3}
    world.apply(retries=100)
    faults = Faults(world, seed)
    for _ in range(50):
        world.turn()
        faults.happen()
        status = world.status()
        if status.get("phase") == "Complete":
            break
        assert kstatus(world.body()) == "InProgress", faults.done
    world.apply(suspend=False)
    world.deaf = False
    world.until("Complete", turns=300)

    (run,) = world.store.commits
    assert sorted(world.store.commits[run]) == list(range(9)), faults.done
    progress = world.status()["progress"]
    assert (progress["rowsIn"], progress["rowsOut"], progress["rowsRejected"]) == (90, 87, 3), faults.done
    assert world.status()["manifest"] == f"s3://reports/{run}/_MANIFEST.json"
    assert world.told().count("Complete") == 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("policy", ["Allow", "Forbid"])
def test_every_time_of_a_schedule_is_started_once_or_counted_as_missed(seed: int, policy: str) -> None:
    world, chance = BatchWorld(), random.Random(seed)
    limits = {"successfulRunsHistoryLimit": 100, "failedRunsHistoryLimit": 100}
    world.apply(**a_schedule("*/2 * * * *", concurrencyPolicy=policy, **limits))
    world.turn()
    for _ in range(40):
        fault = chance.choice(["none", "crash", "deaf", "down", "outage"])
        if fault == "crash":
            world.api.crash_at = world.api.writes + chance.randrange(4)
        world.deaf = fault == "deaf"
        if fault == "down":
            world.api.down = True
            world.turn(chance.randrange(1, 30))
            world.api.down = False
        if fault == "outage":
            world.move_to(world.now + timedelta(seconds=chance.randrange(600)))
        world.turn(chance.randrange(1, 30))
    world.deaf = False
    world.turn(61)

    last = world.status()["schedule"]["lastScheduleTime"]
    due = int((datetime.fromisoformat(last) - EPOCH).total_seconds()) // 120
    started = [name for name in world.kept("BatchPrediction") if name != "weekly"]
    assert len(started) + world.status()["schedule"]["missedRuns"] == due
    assert world.now - datetime.fromisoformat(last) <= timedelta(seconds=121)
    for name in started:
        assert world.status(name)["phase"] in ("Complete", "Planning", "Working", "Pending")


def test_a_failed_pod_that_its_job_keeps_does_not_hold_up_the_end_of_the_namespace() -> None:
    world = BatchWorld()
    world.apply()
    world.until("Working")
    world.turn(2)
    pod = world.running()[0]
    world.kill(pod)
    body = world.api.objects["Pod", pod]
    body["metadata"]["deletionTimestamp"] = world.now.isoformat()
    world.api.tell(body)
    world.reconcile("weekly")
    assert "weekly-work" in world.kept("Job"), "a namespace that lives on keeps its Jobs"
    world.api.ends = True
    world.reconciler.reconcile("shop", "weekly")
    assert world.kept("Job") == []
    assert world.reconciler.reconcile("shop", "weekly") is None, "nothing is created there any more"

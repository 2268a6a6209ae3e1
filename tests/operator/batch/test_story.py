"""Lives of a run, told from outside: what people do, what the cluster does, what they see.

After every pass of every story a second one must have nothing to write.
"""

import json
from datetime import timedelta
from typing import Any

import pytest

from modelendpoint_operator import names
from support.batch_world import EPOCH, BatchWorld
from support.kstatus import kstatus

RUN = "weekly-00000001"


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


def assert_whole(world: BatchWorld, run: str = RUN) -> None:
    """Check that every shard was committed exactly once, and that status says what the manifest says."""
    assert sorted(world.store.commits[run]) == list(range(len(world.store.shards)))
    assert set(world.store.manifests) == {run}
    status = world.status()
    assert status["phase"] == "Complete"
    numbers = world.store.numbers(range(len(world.store.shards)))
    progress = status["progress"]
    assert {field: progress[field] for field in ("rowsIn", "rowsOut", "rowsRejected", "shardsDone")} == numbers
    assert status["manifest"] == f"s3://reports/{run}/_MANIFEST.json"
    assert world.condition("Complete")["status"] == "True"  # type: ignore[index]
    assert kstatus(world.body()) == "Current"


def environment_of(world: BatchWorld, job: str) -> dict[str, str]:
    container = world.api.objects["Job", job]["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_a_run_plans_works_and_completes(world: BatchWorld) -> None:
    world.store.rejected = {1: 7}
    world.apply()

    assert world.trace() == ["Planning", "Working", "Complete"]
    assert_whole(world)
    assert world.status()["progress"]["text"] == "350/350"
    assert world.kept("Job") == ["weekly-plan", "weekly-work"]
    assert world.told() == ["Started", "Planned", "Complete"]
    assert world.condition("Ready")["message"].startswith("343 rows are predicted, 7 rejected")  # type: ignore[index]


def test_all_workers_load_the_bytes_that_the_plan_was_made_with(world: BatchWorld) -> None:
    world.apply()
    world.until("Working")

    assert environment_of(world, "weekly-plan")[names.ENV_MODEL_SHA256] == ""
    assert environment_of(world, "weekly-work")[names.ENV_MODEL_SHA256] == "ab" * 32
    assert world.status()["model"]["sha256"] == "ab" * 32


def test_a_run_is_in_progress_from_the_first_look_to_the_last(world: BatchWorld) -> None:
    world.apply()
    assert kstatus(world.body()) == "InProgress"
    while world.status().get("phase") != "Complete":
        assert kstatus(world.body()) == "InProgress"
        assert world.condition("Complete") is None
        world.turn()


@pytest.mark.parametrize("write", range(14))
def test_an_operator_that_is_killed_at_any_write_changes_nothing(world: BatchWorld, write: int) -> None:
    undisturbed = BatchWorld()
    undisturbed.apply()
    undisturbed.until("Complete")
    world.api.crash_at = write
    world.apply()
    world.until("Complete")

    assert world.api.crash_at is None or undisturbed.api.writes <= write
    assert_whole(world)
    assert world.kept("Job") == undisturbed.kept("Job")
    assert world.told() == undisturbed.told()
    specs = [[one.api.objects["Job", name]["spec"] for name in one.kept("Job")] for one in (world, undisturbed)]
    assert specs[0] == specs[1]


def test_without_any_watch_event_the_resync_brings_a_run_to_its_end(world: BatchWorld) -> None:
    world.deaf = True
    world.apply()
    world.until("Complete", turns=200)

    assert_whole(world)


def test_workers_that_are_killed_several_times_change_nothing(world: BatchWorld) -> None:
    world.store.shards = [10] * 12
    world.apply()
    world.until("Working")
    killed = 0
    while world.status()["phase"] != "Complete":
        if killed < 6 and world.running():
            world.kill(world.running()[0])
            killed += 1
        world.turn()

    assert killed == 6
    assert_whole(world)


def test_progress_never_goes_back_although_pods_vanish(world: BatchWorld) -> None:
    world.store.shards = [10] * 30
    world.apply()
    world.until("Working")
    seen = []
    while world.status()["phase"] != "Complete":
        world.turn()
        seen.append(world.status()["progress"]["rowsIn"])
        if len(seen) in (6, 11):
            for pod in list(world.kept("Pod")):
                world.api.remove("Pod", pod)
    assert seen == sorted(seen)
    assert 0 < seen[-2] < 300
    assert_whole(world)


def test_progress_tells_rows_rate_and_time_left(world: BatchWorld) -> None:
    world.store.shards = [1000] * 40
    world.apply()
    world.until("Working")
    world.turn(13)

    progress = world.status()["progress"]
    assert progress["text"].endswith("/40000")
    assert progress["rowsPerSecond"] == pytest.approx(2000, rel=0.3)
    left = (40000 - progress["rowsIn"]) / progress["rowsPerSecond"]
    assert progress["eta"] == f"{round(left)}s"


def test_progress_counts_shards_where_the_rows_are_not_known_before(world: BatchWorld) -> None:
    world.store.counts_rows = False
    world.store.shards = [10] * 20
    world.apply()
    world.until("Working")
    assert world.status()["progress"]["text"] == "0/20 shards"
    world.turn(7)

    assert world.status()["progress"]["text"].endswith(" rows")
    world.until("Complete")
    assert world.status()["progress"]["text"] == "200/200"


def test_an_input_without_rows_is_finished_without_workers(world: BatchWorld) -> None:
    world.store.shards = []
    world.apply()
    world.until("Complete")

    assert world.kept("Job") == ["weekly-finish", "weekly-plan"]
    assert world.status()["progress"]["rowsIn"] == 0


def test_a_manifest_that_no_worker_tells_of_is_written_by_a_last_pod(world: BatchWorld) -> None:
    world.apply()
    world.until("Working")
    world.api.down = True
    world.turn(6)
    assert set(world.store.manifests) == {RUN}
    for pod in world.kept("Pod"):
        world.api.remove("Pod", pod)
    world.api.down = False
    world.until("Complete")

    assert world.kept("Job") == ["weekly-finish", "weekly-plan", "weekly-work"]
    assert_whole(world)


def test_a_plan_whose_word_is_lost_is_made_again(world: BatchWorld) -> None:
    world.apply()
    world.turn(3)
    assert world.api.objects["Pod", world.kept("Pod")[0]]["status"]["phase"] == "Running"
    world.api.down = True
    world.turn()
    for pod in world.kept("Pod"):
        world.api.remove("Pod", pod)
    world.api.down = False
    world.until("Complete")

    assert_whole(world)


# Failures.


def test_a_missing_column_fails_the_run_before_any_worker_starts(world: BatchWorld) -> None:
    world.failing["plan"] = {"reason": "MissingColumn", "message": "s3://customers/a.csv lacks the column tenure"}
    world.apply()
    world.until("MissingColumn", turns=6)

    assert world.kept("Job") == ["weekly-plan"]
    assert world.condition("Failed")["message"].startswith("s3://customers/a.csv lacks the column tenure. ")  # type: ignore[index]
    assert "modelendpoint.dev/retry=1" in world.condition("Stalled")["message"]  # type: ignore[index]
    assert kstatus(world.body()) == "Failed"
    assert world.told() == ["Started", "MissingColumn"]


def test_a_permanent_error_of_one_worker_stops_all(world: BatchWorld) -> None:
    world.store.shards = [10] * 20
    world.apply()
    world.until("Working")
    world.turn(4)
    world.failing["work"] = {"reason": "ErrorThresholdExceeded", "message": "12 of 100 rows were rejected"}
    world.until("ErrorThresholdExceeded")

    assert world.running() == []
    assert world.status()["failure"]["reason"] == "ErrorThresholdExceeded"


def test_what_heals_by_itself_is_tried_again_and_told_meanwhile(world: BatchWorld) -> None:
    world.store.shards = [10] * 20
    world.flaky["weekly-work"] = 2
    world.apply()
    world.until("Working")
    world.turn(8)

    message = world.condition("Ready")["message"]  # type: ignore[index]
    assert "2 pods failed and are replaced, the latest: The store does not answer" in message
    world.until("Complete")
    assert_whole(world)


def test_what_does_not_heal_fails_after_all_tries(world: BatchWorld) -> None:
    world.flaky["weekly-work"] = 100
    world.apply(retries=2)
    world.until("StoreUnavailable")

    assert world.condition("Failed")["message"].startswith(  # type: ignore[index]
        "The store does not answer (after all tries of spec.retries)"
    )


def test_a_retry_goes_on_where_the_run_stopped(world: BatchWorld) -> None:
    world.store.shards = [10] * 20
    world.apply()
    world.until("Working")
    world.turn(4)
    world.failing["work"] = {"reason": "ErrorThresholdExceeded", "message": "too many"}
    world.until("ErrorThresholdExceeded")
    before = list(world.store.commits[RUN])
    assert before
    world.failing.clear()
    world.annotate("1")
    world.until("Complete")

    assert world.store.commits[RUN][: len(before)] == before
    assert_whole(world)
    assert world.kept("Job") == ["weekly-plan-2", "weekly-work-2"]
    assert (world.status()["attempt"], "failure" in world.status()) == (2, False)
    assert world.condition("Failed") is None


@pytest.mark.parametrize("write", range(14))
def test_an_operator_that_is_killed_in_a_retry_changes_nothing(world: BatchWorld, write: int) -> None:
    world.failing["work"] = {"reason": "ErrorThresholdExceeded", "message": "too many"}
    world.apply()
    world.until("ErrorThresholdExceeded")
    world.failing.clear()
    world.api.crash_at = world.api.writes + write
    world.annotate("1")
    world.until("Complete")

    assert_whole(world)
    assert world.status()["attempt"] == 2
    assert world.kept("Job") == ["weekly-plan-2", "weekly-work-2"]


def test_a_retry_of_a_run_that_has_not_failed_is_answered(world: BatchWorld) -> None:
    world.apply()
    world.until("Working")
    world.annotate("1")
    world.until("Complete")

    assert "RetryIgnored" in world.told()
    assert world.status()["attempt"] == 1


def test_a_run_that_takes_too_long_fails_and_stops(world: BatchWorld) -> None:
    world.store.shards = [10] * 200
    world.apply(deadlineSeconds=20)
    world.until("DeadlineExceeded", turns=30)

    assert world.now - EPOCH <= timedelta(seconds=22)
    world.turn(2)
    assert world.running() == []
    assert world.api.objects["Job", "weekly-work"]["spec"]["activeDeadlineSeconds"] == 20


def test_a_foreign_job_of_the_same_name_is_reported_and_not_touched(world: BatchWorld) -> None:
    foreign = {"metadata": {"name": "weekly-plan"}, "spec": {"suspend": True}, "kind": "Job"}
    world.api.put("Job", json.loads(json.dumps(foreign)))
    world.apply()
    world.until("NameConflict")

    assert "Job weekly-plan" in world.condition("Stalled")["message"]  # type: ignore[index]
    assert world.api.objects["Job", "weekly-plan"]["spec"] == {"suspend": True}
    world.api.remove("Job", "weekly-plan")
    world.turn(31)
    world.until("Complete")


def test_a_job_that_somebody_deletes_is_made_again(world: BatchWorld) -> None:
    world.store.shards = [10] * 12
    world.apply()
    world.until("Working")
    world.turn(4)
    world.api.remove("Job", "weekly-work")
    world.until("Complete")

    assert_whole(world)


# What people change.


def test_a_suspended_run_stops_its_workers_and_goes_on_later(world: BatchWorld) -> None:
    world.store.shards = [10] * 20
    world.apply()
    world.until("Working")
    world.turn(4)
    world.apply(suspend=True)
    world.until("Suspended")
    world.turn(10)
    committed = len(world.store.commits[RUN])
    assert world.running() == []
    world.turn(5)
    assert len(world.store.commits[RUN]) == committed < 20

    world.apply(suspend=False)
    world.until("Complete")
    assert_whole(world)


def test_a_run_that_is_suspended_from_the_start_starts_nothing(world: BatchWorld) -> None:
    world.apply(suspend=True)
    world.turn(5)

    assert (world.reason(), world.kept("Job")) == ("Suspended", [])
    world.apply(suspend=False)
    world.until("Complete")


def test_fewer_workers_may_be_asked_for_later(world: BatchWorld) -> None:
    world.store.shards = [10] * 20
    world.apply()
    world.until("Working")
    world.apply(parallelism=1)
    world.turn(2)
    assert world.api.objects["Job", "weekly-work"]["spec"]["parallelism"] == 1
    world.apply(parallelism=50)
    world.turn(2)

    assert world.api.objects["Job", "weekly-work"]["spec"]["parallelism"] == 2
    world.until("Complete")
    assert_whole(world)


def test_an_ended_run_is_deleted_after_its_time(world: BatchWorld) -> None:
    world.apply(ttlSecondsAfterFinished=30)
    world.until("Complete")
    world.turn(29)
    assert world.kept("BatchPrediction") == ["weekly"]
    world.turn(2)

    assert world.kept("BatchPrediction") == world.kept("Job") == world.kept("Pod") == []


def test_an_image_that_the_operator_gets_in_mid_run_is_for_later_runs(world: BatchWorld) -> None:
    world.apply()
    world.turn(2)
    world.settings.__dict__["server_image"] = "server:2"
    world.until("Complete")

    image = world.api.objects["Job", "weekly-work"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert (image, world.status()["image"]) == ("server:1", "server:1")


# The model of an endpoint.


def by_endpoint(**reference: Any) -> dict[str, Any]:
    return {"endpointRef": {"name": "churn", **reference}, "model": None}


def apply_by_endpoint(world: BatchWorld, **reference: Any) -> None:
    world.apply(suspend=True)
    world.apply(**by_endpoint(**reference), suspend=False)


def test_a_run_stays_with_the_revision_that_was_stable_at_its_start(world: BatchWorld) -> None:
    world.put_endpoint(stable=1, revisions=(1, 2))
    apply_by_endpoint(world)
    world.turn()
    world.api.objects["ModelEndpoint", "churn"]["status"]["stable"]["revision"] = 2
    world.until("Complete")

    model = world.status()["model"]
    assert (model["endpoint"], model["revision"], model["version"]) == ("churn", 1, "1")
    environment = environment_of(world, "weekly-work")
    assert environment[names.ENV_MODEL_URI] == "s3://models/churn/1.onnx"
    assert (environment[names.ENV_NAME], environment[names.ENV_REVISION]) == ("churn", "1")
    assert environment_of(world, "weekly-plan")[names.ENV_MODEL_SHA256] == f"{1:064x}"


def test_a_run_may_name_its_revision(world: BatchWorld) -> None:
    world.put_endpoint(stable=1, revisions=(1, 2))
    apply_by_endpoint(world, revision=2)
    world.until("Complete")

    assert world.status()["model"]["revision"] == 2


def test_a_challenger_is_settled_together_with_the_model(world: BatchWorld) -> None:
    world.put_endpoint(stable=1, revisions=(1, 2))
    world.apply(suspend=True)
    world.apply(**by_endpoint(), compareWith={"revision": 2, "absoluteTolerance": 0.5}, suspend=False)
    world.until("Working")

    told = json.loads(environment_of(world, "weekly-work")[names.ENV_BATCH])["compareWith"]
    assert (told["uri"], told["sha256"], told["absoluteTolerance"]) == ("s3://models/churn/2.onnx", f"{2:064x}", 0.5)
    assert world.status()["comparedWith"]["revision"] == 2


@pytest.mark.parametrize(
    ("stable", "reference", "reason", "state"),
    [
        (None, {}, "EndpointNotReady", "InProgress"),
        (1, {"revision": 7}, "RevisionNotFound", "Failed"),
    ],
)
def test_a_run_waits_for_its_revision(
    world: BatchWorld, stable: int | None, reference: dict[str, Any], reason: str, state: str
) -> None:
    world.put_endpoint(stable=stable)
    apply_by_endpoint(world, **reference)
    world.until(reason)
    assert kstatus(world.body()) == state
    world.api.remove("ModelEndpoint", "churn")
    world.put_endpoint(stable=1, revisions=(1, 7))
    world.until("Complete")


def test_an_endpoint_that_does_not_exist_is_named(world: BatchWorld) -> None:
    apply_by_endpoint(world)
    world.until("EndpointNotFound")
    assert "ModelEndpoint churn" in world.condition("Stalled")["message"]  # type: ignore[index]
    assert (kstatus(world.body()), world.kept("Job")) == ("Failed", [])

    world.put_endpoint()
    world.until("Complete", turns=60)


def test_a_spec_that_can_not_be_read_is_named(world: BatchWorld) -> None:
    world.apply(parallelism=0)
    world.until("InvalidSpec")

    assert world.condition("Stalled")["message"].startswith("spec.parallelism: ")  # type: ignore[index]

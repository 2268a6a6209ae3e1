"""Why a Job failed: from what its pods told last, in words for people."""

from modelendpoint_operator.api.batch_status import Failure
from modelendpoint_operator.batch.observation import PERMANENT, BatchObservation, JobSeen, WorkerSeen


def failure_of(job: JobSeen, seen: BatchObservation) -> Failure:
    """Name the cause of a Job's failure: an error that no try can heal, or else the latest one."""
    if job.reason == "DeadlineExceeded":
        return Failure(reason="DeadlineExceeded", message="The run did not end within spec.deadlineSeconds")
    ended = [worker for worker in seen.workers_of(job.stage, job.attempt) if worker.exit_code not in (None, 0)]
    permanent = [worker for worker in ended if worker.exit_code == PERMANENT]
    culprits = sorted(permanent or ended, key=lambda worker: (worker.ended_at, worker.name))
    if not culprits:
        return Failure(
            reason="WorkerFailed", message=f"Job {job.name} failed: {job.message or job.reason or 'no reason'}"
        )
    found = trouble_of(culprits[-1])
    if permanent:
        return found
    return found.model_copy(update={"message": f"{found.message} (after all tries of spec.retries)"})


def trouble_of(worker: WorkerSeen) -> Failure:
    """Name what ended one pod."""
    if worker.out_of_memory:
        message = f"{worker.name} was out of memory; raise spec.resources.limits.memory or lower spec.shardBytes"
        return Failure(reason="OutOfMemory", message=message)
    word = worker.word
    if word is not None and word.message:
        return Failure(reason=word.reason or "WorkerFailed", message=word.message)
    message = f"{worker.name} ended with exit code {worker.exit_code}; see its log: kubectl logs {worker.name}"
    return Failure(reason="WorkerFailed", message=message)

"""``python -m modelendpoint_server batch plan|work|finish``: one pod of a run, from its environment to its exit code."""

import dataclasses
import datetime
import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from prometheus_client import CollectorRegistry

from modelendpoint_server.artifact.credentials import read_credentials
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.batch.chunks import Input
from modelendpoint_server.batch.columns import Selection
from modelendpoint_server.batch.commitment import Ledger, Record
from modelendpoint_server.batch.comparison import check_comparable
from modelendpoint_server.batch.errors import (
    ErrorThresholdExceeded,
    Incomplete,
    InvalidBatch,
    MissingColumn,
    ModelsDiffer,
    OutOfMemory,
    OutputInUse,
    Passing,
    Stopped,
)
from modelendpoint_server.batch.finishing import exceeded, finish
from modelendpoint_server.batch.models import LoadedModel, ModelLoader, settings_of_challenger
from modelendpoint_server.batch.places import Patience, Target, open_source
from modelendpoint_server.batch.plan import Plan, Shard
from modelendpoint_server.batch.planner import Planner, select_columns
from modelendpoint_server.batch.progress import Progress, write_last_words
from modelendpoint_server.batch.reading import Reader
from modelendpoint_server.batch.scoring import Scorer
from modelendpoint_server.batch.shard import Contender, Outcome, ShardWorker, TooManyRejected, Work
from modelendpoint_server.batch.specification import BatchSettings
from modelendpoint_server.cgroup import memory_size
from modelendpoint_server.errors import InternalError, ServerError, StoreUnavailable
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.logs import set_up_logging
from modelendpoint_server.management import serve_management
from modelendpoint_server.memory_cap import cap_memory
from modelendpoint_server.settings import NonFinite
from modelendpoint_server.signature import Signature

_LOG = logging.getLogger(__name__)
DONE, MAY_HEAL, PERMANENT = 0, 1, 42
_RESERVED_BYTES = 2 * 2**30
"""What the process may reserve beyond the container's memory: stacks and the heaps of many threads, hardly touched. A tighter
cap stops work that fits; this one makes an error, which costs one row, of a model's wish for very much at once."""
_TERMINATION_LOG = Path("/dev/termination-log")


def main(arguments: Sequence[str], environment: Mapping[str, str], *, now: Callable[[], datetime.datetime]) -> int:
    """Do what the first argument says; return the exit code that tells whether a retry makes sense."""
    verbs = {"plan": _plan, "work": _work, "finish": _finish}
    if len(arguments) != 1 or arguments[0] not in verbs:
        print("usage: python -m modelendpoint_server batch plan|work|finish", file=sys.stderr)
        return 2
    progress = Progress(
        name=environment.get("MODELENDPOINT_NAME", ""), revision=environment.get("MODELENDPOINT_REVISION", "")
    )
    try:
        settings = BatchSettings.from_environment(environment)
    except ServerError as error:
        print(f"modelendpoint_server: {error}", file=sys.stderr)
        progress.set(state="Failed", reason=type(error).__name__, message=str(error))
        _leave_words(Path(environment.get("MODELENDPOINT_BATCH_TERMINATION_LOG") or _TERMINATION_LOG), progress)
        return PERMANENT
    set_up_logging(settings.server)
    pod = Pod(settings, progress, now)
    code = pod.run(verbs[arguments[0]])
    _leave_words(settings.termination_log, progress)
    return code


def _leave_words(file: Path, progress: Progress) -> None:
    try:
        write_last_words(file, progress.status)
    except OSError as error:
        _LOG.warning("Could not write the termination message: %s", error)


class Pod:
    """What the verbs share: settings, stores, signals and the management port."""

    def __init__(self, settings: BatchSettings, progress: Progress, now: Callable[[], datetime.datetime]) -> None:
        self.settings = settings
        self.progress = progress
        self.now = now
        self.stop = threading.Event()
        self.patience = Patience(self.stop)
        self.registries: list[CollectorRegistry] = []

    def run(self, verb: "Callable[[Pod], None]") -> int:
        """Do it; leave the outcome in the progress."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        server = serve_management(
            self.progress.app(self.registries),
            host=self.settings.server.host,
            port=self.settings.server.management_port,
        )
        cap_memory(memory_size() + _RESERVED_BYTES)
        try:
            verb(self)
        except Exception as error:  # noqa: BLE001  the last words are all that people see of a pod that is gone
            return self._failed(error)
        finally:
            server.shutdown()
        self.progress.set(state="Done", reason=None, message=None)
        return DONE

    def _failed(self, error: Exception) -> int:
        told: Exception = error
        if isinstance(error, MemoryError):
            told = OutOfMemory(
                "The worker needs more memory than resources.limits.memory. Raise it, or lower shardBytes in another run."
            )
        elif not isinstance(error, ServerError):
            _LOG.exception("Unexpected error")
            told = InternalError(f"The worker has a bug ({type(error).__name__}); its log has the details.")
        _LOG.error("Gave up: %s", told, extra={"reason": type(told).__name__})
        self.progress.set(state="Failed", reason=type(told).__name__, message=str(told))
        return MAY_HEAL if isinstance(told, Passing | StoreUnavailable | InternalError) else PERMANENT

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.stop.set()

    def access(self, which: str) -> Access:
        """Return how to reach a store, with the credentials that are mounted for it."""
        server = self.settings.server
        return Access(
            credentials=read_credentials(self.settings.credentials_dir / f"{which}-credentials"),
            pvc_dir=server.pvc_dir,
            configmap_dir=server.configmap_dir,
            stall_seconds=server.download_stall_seconds,
            timeout_seconds=server.download_timeout_seconds,
            service_account=server.service_account,
            refused_networks=server.refused_networks,
        )

    def ledger(self) -> Ledger:
        """Open the output."""
        target = Target(self.settings.run.output_uri, self.access("output"), self.patience)
        return Ledger(target, self.settings.run.name)

    def load_models(self, sha256: str, challenger_sha256: str) -> tuple[ModelLoader, LoadedModel, LoadedModel | None]:
        """Load the model, and the one to compare it with; the digests, if not empty, are what they must have."""
        loader, server = ModelLoader(self.stop), self.settings.server
        model = loader.load(dataclasses.replace(server, model_sha256=sha256 or server.model_sha256))
        self.registries.append(model.metrics.registry)
        self.progress.set(sha256=model.sha256)
        challenger = self.settings.run.challenger
        if challenger is None:
            return loader, model, None
        other = settings_of_challenger(server, challenger, self.settings.credentials_dir / "compare-credentials")
        loaded = loader.load(dataclasses.replace(other, model_sha256=challenger_sha256 or other.model_sha256))
        self.registries.append(loaded.metrics.registry)
        check_comparable(model.predictor.signature, loaded.predictor.signature)
        return loader, model, loaded

    def tell_end(self, manifest: Mapping[str, object], ledger: Ledger) -> None:
        """Report the figures of the whole run."""
        shards = manifest["shards"]
        count = len(shards) if isinstance(shards, list) else 0
        self.progress.set(
            shards=count,
            shards_done=count,
            rows=manifest["rowsIn"],
            rows_in=manifest["rowsIn"],
            rows_out=manifest["rowsOut"],
            rows_rejected=manifest["rowsRejected"],
            manifest=ledger.manifest_uri,
            comparison=manifest.get("compare"),
        )


def _plan(pod: Pod) -> None:
    """Look at the input and the model, and write the plan."""
    pod.progress.set(state="Planning")
    run, ledger = pod.settings.run, pod.ledger()
    plan = ledger.read_plan()
    if plan is None:
        if foreign := ledger.foreign_files():
            raise OutputInUse(
                f"{run.output_uri} already holds {foreign[0]} of another run. Choose another output.uri, or remove what is"
                " there."
            )
        plan = ledger.create_plan(_make_plan(pod))
    pod.progress.set(shards=len(plan.shards), rows=plan.rows, sha256=plan.sha256)
    _LOG.info("Planned", extra={"shards": len(plan.shards), "rows": plan.rows, "files": len(plan.files)})


def _make_plan(pod: Pod) -> Plan:
    run = pod.settings.run
    source = open_source(run.input_uri, pod.access("input"), pod.patience)
    planner = Planner(run, Reader(source, run.compression), source.files(), shown=source.shown)
    planner.read_columns()
    _, model, other = pod.load_models("", "")
    check_fit(planner, model.predictor.signature, other.predictor.signature if other else None)
    for loaded in [model] if other is None else [model, other]:
        # Also tells of models that can't score rows at all.
        Scorer(loaded.predictor)

    def advance(rows: int) -> None:
        if pod.stop.is_set():
            raise Stopped("The pod was told to end; the input is looked at again.")
        pod.progress.set(rows=(pod.progress.status.rows or 0) + rows)

    return planner.make(sha256=model.sha256, challenger_sha256=other.sha256 if other else "", advance=advance)


def check_fit(planner: Planner, ours: Signature, theirs: Signature | None) -> None:
    """Check the input against the model and the one to compare it with, if there is one.

    Raise ``ModelsDiffer`` where the input is right for the other one only: then it is not the input that is wrong.
    """
    try:
        planner.check([ours] if theirs is None else [ours, theirs])
    except (MissingColumn, InvalidBatch) as error:
        if theirs is None:
            raise
        if _fits(planner, ours):
            raise type(error)(f"For the model of compareWith: {error}") from error
        if _fits(planner, theirs):
            raise ModelsDiffer(
                f"The input is right for the model of compareWith, and not for this one: {error}"
            ) from error
        raise


def _fits(planner: Planner, signature: Signature) -> bool:
    try:
        planner.check([signature])
    except (MissingColumn, InvalidBatch):
        return False
    return True


def _work(pod: Pod) -> None:
    """Work the shards of this index; the worker that finds all committed ends the run."""
    pod.progress.set(state="Working")
    settings, ledger = pod.settings, pod.ledger()
    plan = ledger.read_plan()
    if plan is None:
        raise Incomplete("There is no plan yet. The plan pod must end first.")
    own = plan.shards_of(settings.index, settings.workers)
    committed = ledger.committed()
    records = ledger.records([shard.number for shard in own if shard.number in committed])
    for record in records:
        ledger.publish(record)
    pod.progress.set(shards=len(own), rows=plan.rows, sha256=plan.sha256)
    _count(pod.progress, records)
    done = {record.shard for record in records}
    left = [shard for shard in own if shard.number not in done]
    if left:
        records += _work_shards(pod, plan, ledger, left, rejected=sum(r.rows_rejected for r in records))
    if len(ledger.committed()) == len(plan.shards):
        pod.progress.set(state="Finishing")
        pod.tell_end(finish(settings, plan, ledger, now=pod.now()), ledger)


def _count(progress: Progress, records: Sequence[Record]) -> None:
    progress.count(
        rows_in=sum(r.rows_in for r in records),
        rows_out=sum(r.rows_out for r in records),
        rows_rejected=sum(r.rows_rejected for r in records),
        shards_done=len(records),
    )


def _work_shards(pod: Pod, plan: Plan, ledger: Ledger, shards: Sequence[Shard], *, rejected: int) -> list[Record]:
    folder = Path(tempfile.mkdtemp(prefix="batch-", dir=_made(pod.settings.server.model_dir)))
    worker = ShardWorker(_prepare(pod, plan, folder), pod.progress, pod.stop)
    threshold, total = pod.settings.run.threshold, plan.rows
    # Without a count of all rows, a share of them can only be judged at the end.
    allowed = None if threshold.percent is not None and total is None else threshold.allowed(total or 0)
    records = []
    for shard in shards:
        if pod.stop.is_set():
            raise Stopped("The pod was told to end; the other shards are worked by the next one.")
        try:
            outcome = worker.run(shard, most_rejected=None if allowed is None else allowed - rejected)
        except TooManyRejected as error:
            where = ledger.keep_rejected(shard.number, error.errors)
            raise ErrorThresholdExceeded(
                exceeded(rejected + error.rejected, total, threshold, error.first, where)
            ) from error
        parts = ledger.stage(shard.number, outcome.files)
        record = ledger.commit(_record(shard, outcome, parts))
        worker.forget()
        rejected += record.rows_rejected
        pod.progress.count(rows_in=0, rows_out=0, rows_rejected=0, shards_done=1)
        _LOG.info(
            "Committed a shard", extra={"shard": shard.number, "rows": record.rows_out, "seconds": record.seconds}
        )
        records.append(record)
    return records


def _record(shard: Shard, outcome: Outcome, parts: Sequence[object]) -> Record:
    return Record(
        shard=shard.number,
        rows_in=outcome.rows_in,
        rows_out=outcome.rows_out,
        rows_rejected=outcome.rows_rejected,
        parts=tuple(parts),  # type: ignore[arg-type]
        first_rejected=outcome.first_rejected,
        comparison=outcome.tally.as_json() if outcome.tally else None,
        inputs=outcome.inputs,
        seconds=outcome.seconds,
    )


def _prepare(pod: Pod, plan: Plan, folder: Path) -> Work:
    run = pod.settings.run
    source = open_source(run.input_uri, pod.access("input"), pod.patience)
    reader = Reader(source, plan.compression)
    loader, model, other = pod.load_models(plan.sha256, plan.challenger_sha256)
    shown = reader.shown(plan.files[0])
    selections = [
        select_columns(run, loaded.predictor.signature, plan.columns, shown=shown)
        for loaded in (model, other)
        if loaded is not None
    ]
    null_is_nan = pod.settings.server.non_finite is NonFinite.ALLOW
    limits = Limits(
        max_rows=pod.settings.server.max_rows, max_nesting=pod.settings.server.max_nesting, null_is_nan=null_is_nan
    )
    return Work(
        plan=plan,
        input=Input(plan, reader, _joined(selections), limits),
        model=Contender(Scorer(model.predictor), selections[0]),
        other=Contender(Scorer(other.predictor), selections[1]) if other else None,
        challenger=run.challenger,
        null_is_nan=null_is_nan,
        threads=loader.threads,
        folder=folder,
    )


def _joined(selections: Sequence[Selection]) -> Selection:
    """Return what all models need together."""
    bindings = tuple(binding for selection in selections for binding in selection.bindings)
    return dataclasses.replace(selections[0], bindings=bindings)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _finish(pod: Pod) -> None:
    """Write the manifest, if the workers did not."""
    pod.progress.set(state="Finishing")
    ledger = pod.ledger()
    plan = ledger.read_plan()
    if plan is None:
        raise Incomplete("There is no plan, so nothing can be finished. Start a new run.")
    pod.progress.set(shards=len(plan.shards), rows=plan.rows, sha256=plan.sha256)
    pod.tell_end(finish(pod.settings, plan, ledger, now=pod.now()), ledger)

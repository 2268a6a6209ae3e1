"""The life of the one model of this process: get it, load it, warm it up, serve it, drain.

One thread walks ``Downloading → Loading → Ready`` and, after a failure, waits and starts again. Everything that others
read is one attribute that is replaced as a whole. No HTTP here.
"""

import dataclasses
import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelendpoint_server.admission import Admission
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.credentials import read_credentials
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import ModelFetcher, fetch_bytes
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.artifact.uri import parse_uri
from modelendpoint_server.batching import AUTOMATIC_SIZE, Batcher, can_batch, is_worthwhile, measure_gain
from modelendpoint_server.errors import (
    DigestMismatch,
    GoldenExamplesFailed,
    InternalError,
    InvalidUri,
    ModelError,
    ModelNotReady,
    RequestError,
)
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.golden import Tolerance, check_result, parse_examples, run_examples
from modelendpoint_server.inference import Call, Predictor, Rules, Runner
from modelendpoint_server.made_up import made_up_inputs
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.model import RUNTIME_VERSION, OnnxModel, Runtime
from modelendpoint_server.report import ModelInfo, Report, State, Timings
from modelendpoint_server.settings import NonFinite, Settings
from modelendpoint_server.watchdog import Watchdog

_LOG = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 600.0
"""For what will not heal by itself, as long as the store has the same bytes."""
_LOOK_SECONDS = 30.0
"""How often it is looked whether the store has others; that costs a listing and no download."""
_MOST_EXAMPLES_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Serving:
    """A model that is ready, and what is said about it."""

    predictor: Predictor
    report: Report
    sha256: str


class Lifecycle:
    """Gets the model and keeps what is known about it."""

    def __init__(
        self,
        settings: Settings,
        *,
        threads: int,
        admission: Admission,
        watchdog: Watchdog,
        metrics: Metrics,
        is_listening: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._watchdog = watchdog
        self._metrics = metrics
        self._is_listening = is_listening
        self._runtime = Runtime(threads=threads, providers=settings.execution_providers)
        self._fetcher = ModelFetcher(
            settings.model_uri,
            bounds=Bounds(
                max_bytes=settings.max_model_bytes,
                max_files=settings.max_model_files,
                max_unpack_ratio=settings.max_unpack_ratio,
                timeout_seconds=settings.download_timeout_seconds,
                min_bytes_per_second=settings.download_min_bytes_per_second,
            ),
            model_dir=settings.model_dir,
            sha256=settings.model_sha256,
        )
        self._digest_file = settings.revision_dir / "sha256"
        self._report = Report(state=State.DOWNLOADING, reason="Downloading", message="The model is being fetched.")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lifecycle", daemon=True)
        self._golden: dict[str, Any] | None = None
        self._loaded: Serving | None = None
        self.serving: Serving | None = None
        """The ready model; ``None`` before, and when its digest turns out to be the wrong one."""
        self.draining = False

    def start(self) -> None:
        """Begin to get the model in the background."""
        self._thread.start()

    def drain(self) -> None:
        """Say that the process is about to end; requests are still answered."""
        self.draining = True

    def stop(self) -> None:
        """End the background work."""
        self._stop.set()

    def predictor(self) -> Predictor:
        """Return the ready model; raise ``ModelNotReady`` with the reason that people need."""
        serving = self.serving
        if serving is None:
            report = self.report()
            raise ModelNotReady(report.message or f"The model is not ready ({report.state}).")
        return serving.predictor

    def report(self) -> Report:
        """Tell the state as of now; the digest that the revision must have may have come or changed meanwhile."""
        report = self._report
        if (loaded := self._loaded) is not None:
            error = self._digest_error(loaded.sha256)
            if error is not None and self.serving is not None:
                _LOG.error("Refused the model: %s", error)
            self.serving = loaded if error is None else None
            report = (
                loaded.report
                if error is None
                else dataclasses.replace(_failure(error, 60.0), model=loaded.report.model)
            )
        if report.state is State.READY and not self._is_listening():
            # The model may well be there before the port for requests is open.
            return Report(state=State.LOADING, reason="Starting", message="The server is opening its port.")
        if self.draining:
            return dataclasses.replace(report, state=State.DRAINING, reason="Draining", message="The server is ending.")
        return report

    def _run(self) -> None:
        failures, last = 0, ""
        while not self._stop.is_set() and (error := self._try()) is not None:
            reason = type(error).__name__
            failures, last = failures + 1 if reason == last else 1, reason
            if self._wait_after(error, failures):
                failures = 0

    def _try(self) -> ModelError | None:
        """Try once; return what stands in the way."""
        try:
            self.get_ready()
        except ModelError as error:
            # What the frames on the way held, such as half a model, must not stay for as long as the failure is told.
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        except Exception:  # noqa: BLE001  the last thing that may happen is a thread that is gone without a word
            _LOG.exception("Unexpected error")
            return InternalError("The server has a bug; its log has the details.")
        return None

    def _wait_after(self, error: ModelError, failures: int) -> bool:
        """Report the failure and wait, ever longer, but only until something has changed; tell whether it has."""
        first, longest = _FIRST_RETRY_SECONDS, error.retry_after_seconds
        if not error.may_heal:
            first, longest = error.retry_after_seconds, _LONGEST_RETRY_SECONDS
        wait = min(first * 2 ** min(failures - 1, 20), longest)
        told = dataclasses.replace(_failure(error, wait), golden=self._golden)
        self._report = dataclasses.replace(told, message=self._about_the_model(str(error)))
        _LOG.error("Could not get the model ready: %s", error, extra={"reason": type(error).__name__})
        # Jitter, so that the pods of a revision do not come back to the store all at once.
        ends = time.monotonic() + wait * random.uniform(0.8, 1.0)
        digest = _read_digest(self._digest_file)
        while (left := ends - time.monotonic()) > 0 and not self._stop.wait(min(left, _LOOK_SECONDS)):
            if _read_digest(self._digest_file) != digest or self._store_has_changed():
                return True
        return False

    def _store_has_changed(self) -> bool:
        try:
            return self._fetcher.has_changed(self._access())
        except ModelError:
            return False
        except Exception:  # noqa: BLE001  the next try meets it again, and reports it
            return True

    def get_ready(self) -> None:
        """Walk from the URI to a served model once; raise the ``ModelError`` that stands in the way."""
        started = time.monotonic()
        self._report = Report(state=State.DOWNLOADING, reason="Downloading", message=f"Fetching {self._shown_uri()}.")
        artifact = self._fetch()
        downloaded = time.monotonic()
        self._report = Report(state=State.LOADING, reason="Loading", message=f"Loading {self._shown_uri()}.")
        model = OnnxModel(artifact.model_path, self._runtime)
        loaded = time.monotonic()
        rehearsal = self._predictor(model, Metrics(endpoint="", revision=""))
        if self._settings.warm_up:
            _warm_up(rehearsal)
        self._golden = None
        self._run_golden_examples(rehearsal)
        self._serve(
            artifact,
            model,
            self._runner(model),
            Timings(
                download_seconds=downloaded - started,
                load_seconds=loaded - downloaded,
                warm_up_seconds=time.monotonic() - loaded,
            ),
        )

    def _run_golden_examples(self, predictor: Predictor) -> None:
        settings = self._settings
        if settings.golden_examples_file:
            text = _read_examples(Path(settings.golden_examples_file))
        elif settings.golden_examples_uri:
            text = fetch_bytes(settings.golden_examples_uri, access=self._access(), most=_MOST_EXAMPLES_BYTES)
        else:
            return
        limits = Limits(
            max_rows=settings.max_rows,
            max_nesting=settings.max_nesting,
            null_is_nan=settings.non_finite is NonFinite.ALLOW,
        )
        tolerance = Tolerance(settings.golden_absolute_tolerance, settings.golden_relative_tolerance)
        result = run_examples(predictor, parse_examples(text), limits=limits, tolerance=tolerance)
        self._golden = result.as_json()
        check_result(result)

    def _runner(self, model: OnnxModel) -> Runner:
        """Put a batcher before the model if that is wanted, or wanted when it helps and it does."""
        size = self._settings.batch_max_size
        if size == 1 or not can_batch(model.signature):
            return model
        if size == 0:
            gain = measure_gain(model)
            _LOG.info("Measured batching", extra={"gain": round(gain, 2), "on": is_worthwhile(gain)})
            if not is_worthwhile(gain):
                return model
            size = AUTOMATIC_SIZE
        delay = self._settings.batch_max_delay_milliseconds / 1000
        return Batcher(model, max_size=size, max_delay_seconds=delay)

    def _access(self) -> Access:
        settings = self._settings
        return Access(
            credentials=read_credentials(settings.credentials_dir),
            pvc_dir=settings.pvc_dir,
            configmap_dir=settings.configmap_dir,
            stall_seconds=settings.download_stall_seconds,
            timeout_seconds=settings.download_timeout_seconds,
            service_account=settings.service_account,
            refused_networks=settings.refused_networks,
        )

    def _fetch(self) -> Artifact:
        artifact = self._fetcher.fetch(self._access())
        if (error := self._digest_error(artifact.sha256)) is not None:
            raise error
        return artifact

    def _predictor(self, runner: Runner, metrics: Metrics) -> Predictor:
        rules = Rules(
            max_rows=self._settings.max_rows,
            allow_non_finite=self._settings.non_finite is NonFinite.ALLOW,
            timeout_seconds=self._settings.request_timeout_seconds,
        )
        return Predictor(runner, rules, admission=self._admission, watchdog=self._watchdog, metrics=metrics)

    def _serve(self, artifact: Artifact, model: OnnxModel, runner: Runner, timings: Timings) -> None:
        info = ModelInfo(
            uri=self._shown_uri(),
            version=self._settings.model_version,
            sha256=artifact.sha256,
            bytes=artifact.size,
            opset=artifact.opset,
            producer=model.producer,
        )
        report = Report(state=State.READY, model=info, signature=model.signature, golden=self._golden, timings=timings)
        self._metrics.set_model(_labels(self._settings.name, info), load_seconds=sum(dataclasses.astuple(timings)))
        self._loaded = self.serving = Serving(self._predictor(runner, self._metrics), report, artifact.sha256)
        _LOG.info("Model is ready", extra={"sha256": artifact.sha256, "uri": info.uri})

    def _digest_error(self, sha256: str) -> DigestMismatch | None:
        wanted = _read_digest(self._digest_file)
        if not wanted or wanted == sha256:
            return None
        return DigestMismatch(
            f"The model at {self._shown_uri()} has the sha256 {sha256}, but the revision began with {wanted}: the"
            " object at the URI was replaced. Put it back, or declare the new model as a new version."
        )

    def _about_the_model(self, sentence: str) -> str:
        """Say which model a sentence is about, if it does not."""
        try:
            uri = self._shown_uri()
        except InvalidUri:
            return sentence
        return sentence if uri in sentence else f"{uri}: {sentence}"

    def _shown_uri(self) -> str:
        return parse_uri(self._settings.model_uri).shown


def _warm_up(predictor: Predictor) -> None:
    """Run the model once, so that the first request finds everything allocated.

    Made-up inputs may be ones that a model has no answer to (an empty string that is no known category); only a model
    that is really asked can tell, so a failure here is logged and no reason to refuse it.
    """
    try:
        predictor.predict(Call(made_up_inputs(predictor.signature)))
    except RequestError as error:
        _LOG.warning("The warm-up run with made-up inputs failed: %s", error)


def _labels(name: str, info: ModelInfo) -> dict[str, str]:
    return {
        "model": name,
        "version": info.version,
        "sha256": info.sha256,
        "opset": str(info.opset or ""),
        "runtime": f"onnxruntime {RUNTIME_VERSION}",
    }


def _failure(error: ModelError, wait: float) -> Report:
    return Report(
        state=State.FAILED, reason=type(error).__name__, message=str(error), retry_after_seconds=round(wait, 1)
    )


def _read_examples(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise GoldenExamplesFailed(
            f"The golden examples in {file} can't be read ({error.strerror}). Check model.goldenExamples."
        ) from error


def _read_digest(file: Path) -> str:
    try:
        return file.read_text().strip().lower()
    except OSError:
        return ""

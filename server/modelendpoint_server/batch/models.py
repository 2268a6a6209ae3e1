"""The models of a run, got, checked and loaded by the server's own code."""

import dataclasses
import threading
from pathlib import Path

from modelendpoint_server.admission import Admission
from modelendpoint_server.batch.places import Patience
from modelendpoint_server.batch.specification import Challenger
from modelendpoint_server.cgroup import usable_cores
from modelendpoint_server.errors import ModelInvalid
from modelendpoint_server.inference import Predictor
from modelendpoint_server.lifecycle import Lifecycle
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.settings import Settings
from modelendpoint_server.watchdog import Watchdog


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model that is ready."""

    predictor: Predictor
    sha256: str
    metrics: Metrics


class ModelLoader:
    """Loads models for ``threads`` predictions at the same time.

    One thread of ONNX Runtime for each prediction: rows are plenty here, so all cores are busy with rows of their own, and
    no two threads wait for each other inside a run.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.threads = usable_cores()
        self._patience = Patience(stop)
        self._watchdog = Watchdog()

    def load(self, settings: Settings) -> LoadedModel:
        """Get the model ready; raise the ``ModelError`` that stands in the way."""
        metrics = Metrics(endpoint=settings.name, revision=settings.revision)
        lifecycle = Lifecycle(
            settings,
            threads=settings.intra_op_threads or 1,
            admission=Admission(places=self.threads, most_waiting=self.threads),
            watchdog=self._watchdog,
            metrics=metrics,
            is_listening=lambda: True,
        )

        def attempt() -> LoadedModel:
            lifecycle.get_ready()
            serving = lifecycle.serving
            if serving is None:
                raise ModelInvalid("The model was refused right after it was loaded. Look at its report.")
            return LoadedModel(serving.predictor, serving.sha256, metrics)

        return self._patience.insist(attempt)


def settings_of_challenger(settings: Settings, challenger: Challenger, credentials_dir: Path) -> Settings:
    """Return the settings for the other model."""
    return dataclasses.replace(
        settings,
        model_uri=challenger.uri,
        model_sha256=challenger.sha256,
        model_version=challenger.version,
        revision=challenger.revision or "compared",
        credentials_dir=credentials_dir,
        revision_dir=Path("/nonexistent"),
        golden_examples_file="",
        golden_examples_uri="",
    )

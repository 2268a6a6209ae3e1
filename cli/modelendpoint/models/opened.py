"""A model that is loaded and can be asked, as the server would load and ask it; and rows from a file."""

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelendpoint.errors import CliError
from modelendpoint_server.admission import Admission
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_model
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.errors import ModelError, RequestError
from modelendpoint_server.formats import csv_rows, open_inference, tabular_json
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.inference import Call, Predictor, Rules
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.model import OnnxModel, Runtime
from modelendpoint_server.settings import Settings
from modelendpoint_server.signature import Signature, Tensor
from modelendpoint_server.watchdog import Watchdog

_DEFAULTS = Settings(model_uri="file:///unused")
_NOWHERE = Path("/nonexistent")
_MOST_ROWS = 10_000_000
LIMITS = Limits(max_rows=_MOST_ROWS, max_nesting=_DEFAULTS.max_nesting, null_is_nan=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model in memory, and where it came from."""

    place: str
    """What the user called it: a path or a URI."""
    artifact: Artifact
    model: OnnxModel
    predictor: Predictor

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return self.model.signature


@contextmanager
def open_model(place: str, *, allow_non_finite: bool = False) -> Iterator[OpenModel]:
    """Load the file, folder, archive or URI; raise ``CliError`` with the reason that the server would report."""
    with tempfile.TemporaryDirectory(prefix="mep-") as folder:
        try:
            artifact = fetch_model(to_uri(place), access=stores(), bounds=_bounds(), model_dir=Path(folder), sha256="")
            model = OnnxModel(artifact.model_path, Runtime(threads=os.cpu_count() or 1))
        except ModelError as error:
            raise CliError(f"{place}: {error}") from error
        yield OpenModel(place=place, artifact=artifact, model=model, predictor=_predictor(model, allow_non_finite))


def to_uri(place: str) -> str:
    """Make a URI of a path; raise ``CliError`` for a path where nothing is."""
    if "://" in place:
        return place
    path = Path(place).resolve()
    if not path.exists():
        raise CliError(f"There is no {place}. Name an ONNX file, or write some to try: mep demo")
    return f"file://{path}"


def read_rows(path: Path, signature: Signature) -> Call:
    """Read rows as a request with this body would be read: CSV, or JSON when the file's name says so.

    Raise ``CliError`` with the place of the first value that does not fit the model.
    """
    try:
        call = decode_rows(path.read_bytes(), is_json=path.suffix == ".json", signature=signature)
    except OSError as error:
        raise CliError(f"{path} can't be read ({error.strerror}).") from error
    except RequestError as error:
        raise CliError(f"{path} does not fit the model: {error}") from error
    if not all(tensor.size for tensor in call.inputs.values()):
        raise CliError(f"{path} has no rows.")
    return call


def decode_rows(body: bytes, *, is_json: bool, signature: Signature) -> Call:
    """Decode a request's body; raise ``RequestError``."""
    if not is_json:
        return csv_rows.decode(body, signature, LIMITS)
    decode = open_inference.decode if b'"datatype"' in body else tabular_json.decode
    return decode(body, signature, LIMITS)


def take_rows(call: Call, signature: Signature, rows: slice) -> dict[str, Tensor]:
    """Cut rows out of a request; inputs that have none stay whole."""
    return {name: tensor[rows] if signature.by_name[name].has_batch else tensor for name, tensor in call.inputs.items()}


def stores() -> Access:
    """Reach stores without credentials: those are the cluster's."""
    return Access(
        credentials={},
        pvc_dir=_NOWHERE,
        configmap_dir=_NOWHERE,
        stall_seconds=_DEFAULTS.download_stall_seconds,
        timeout_seconds=_DEFAULTS.download_timeout_seconds,
    )


def _bounds() -> Bounds:
    return Bounds(
        max_bytes=_DEFAULTS.max_model_bytes,
        max_files=_DEFAULTS.max_model_files,
        max_unpack_ratio=_DEFAULTS.max_unpack_ratio,
        timeout_seconds=_DEFAULTS.download_timeout_seconds,
        min_bytes_per_second=_DEFAULTS.download_min_bytes_per_second,
    )


def _predictor(model: OnnxModel, allow_non_finite: bool) -> Predictor:
    rules = Rules(
        max_rows=_MOST_ROWS,
        allow_non_finite=allow_non_finite,
        timeout_seconds=_DEFAULTS.download_timeout_seconds,
    )
    return Predictor(
        model,
        rules,
        admission=Admission(places=1, most_waiting=1),
        watchdog=Watchdog(),
        metrics=Metrics(endpoint="", revision=""),
    )

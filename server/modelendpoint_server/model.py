"""An ONNX model in memory: load, signature, run. The only module that knows ONNX Runtime.

No HTTP, no wire formats, no download.
"""

import ctypes
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson

from modelendpoint_server.bfloat16 import from_bfloat16, to_bfloat16
from modelendpoint_server.errors import InferenceFailed, InvalidRequest, ModelInvalid, ModelTooLarge
from modelendpoint_server.signature import Signature, Tensor, TensorSpec

# ``__main__`` has told it not to before it was imported; this is for whoever imports us in another way.
onnxruntime.disable_telemetry_events()

_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
_CPP_FUNCTION = re.compile(r"[\w:<>*& ,]*onnxruntime::[\w:~<>]+\([^()]*(\([^()]*\)[^()]*)*\)( const)? ?")
_NO_MEMORY = re.compile(r"bad_alloc|bad allocation|[Ff]ailed to allocate memory")
_INNERMOST = re.compile(r"tensor\((\w+)\)")
RUNTIME_VERSION: str = onnxruntime.__version__

_BFLOAT16 = 16
"""Number of the type in ONNX's TensorProto."""


class Cancel:
    """One request's handle on its run."""

    __slots__ = ("is_stopped", "options")

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()
        self.is_stopped = False

    def stop(self) -> None:
        """Make the run end with an error as soon as the current operator is done."""
        self.is_stopped = True
        self.options.terminate = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """How ONNX Runtime is to run models."""

    threads: int
    providers: tuple[str, ...] = ("CPUExecutionProvider",)


class OnnxModel:
    """A loaded model. ``run`` may be called from several threads at once."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        """Load the model; raise ``ModelInvalid`` with ONNX Runtime's reason."""
        unknown = [name for name in runtime.providers if name not in onnxruntime.get_available_providers()]
        if unknown:
            raise ModelInvalid(
                f"Execution provider {unknown[0]} is not in this image, which has "
                f"{', '.join(onnxruntime.get_available_providers())}. Correct server.executionProviders."
            )
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=_options(runtime), providers=list(runtime.providers)
            )
        except Exception as error:  # ONNX Runtime raises a dozen unrelated types here
            if _NO_MEMORY.search(str(error)) or isinstance(error, MemoryError):
                raise ModelTooLarge(
                    "The model does not fit into the memory that the server may use. Raise"
                    " server.resources.limits.memory."
                ) from error
            raise ModelInvalid(
                f"ONNX Runtime {onnxruntime.__version__} can't load the model: {_reason(error)}."
            ) from error
        # The method behind ``InferenceSession.run``, whose own look at the inputs ours makes needless: a fifth of a run.
        self._run = self._session._sess.run
        self.signature = _signature(self._session)
        self._raw_inputs = frozenset(spec.name for spec in self.signature.inputs if spec.datatype == "BF16")
        self._needs_values = "BF16" in {spec.datatype for spec in (*self.signature.inputs, *self.signature.outputs)}

    @property
    def producer(self) -> str:
        """The tool that wrote the model, as the file says."""
        return str(self._session.get_modelmeta().producer_name)

    @property
    def metadata(self) -> dict[str, str]:
        """The model's own metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, inputs: Mapping[str, Tensor], *, outputs: Sequence[str], cancel: Cancel) -> list[Any]:
        """Compute the outputs in the order that they are named in.

        Raise ``InvalidRequest`` for inputs that ONNX Runtime refuses, ``InferenceFailed`` when the model fails.
        """
        try:
            if self._needs_values:
                return self._run_values(inputs, outputs, cancel)
            return self._run(outputs, inputs, cancel.options)  # type: ignore[no-any-return]
        except Exception as error:
            raise _run_error(error) from error

    def _run_values(self, inputs: Mapping[str, Tensor], outputs: Sequence[str], cancel: Cancel) -> list[Any]:
        """Run a model with bfloat16 at its edge, which ``session.run`` can't exchange with NumPy."""
        values = {name: self._value(name, tensor) for name, tensor in inputs.items()}
        results = self._session.run_with_ort_values(list(outputs), values, cancel.options)
        return [_from_value(result) for result in results]

    def _value(self, name: str, tensor: Tensor) -> onnxruntime.OrtValue:
        if name not in self._raw_inputs:
            return onnxruntime.OrtValue.ortvalue_from_numpy(tensor)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(to_bfloat16(tensor), _BFLOAT16)


def _from_value(value: onnxruntime.OrtValue) -> Any:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    raw = np.frombuffer(_bytes_of(value), dtype=np.uint16)
    return from_bfloat16(raw).reshape(value.shape())


def _bytes_of(value: onnxruntime.OrtValue) -> bytes:
    return ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())


def _options(runtime: Runtime) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # The arena never gives memory back, so one huge request would keep it for good; without it, runs are as fast
    # (measured within 1 % for models from 6 µs to 0.7 ms).
    options.enable_cpu_mem_arena = False
    # Spinning threads burn the cgroup's quota while they wait, and the throttling then hits the next request.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _signature(session: onnxruntime.InferenceSession) -> Signature:
    return Signature(
        inputs=tuple(_spec(node) for node in session.get_inputs()),
        outputs=tuple(_spec(node) for node in session.get_outputs()),
        columns=_columns(session.get_modelmeta().custom_metadata_map.get("feature_names")),
    )


def _columns(text: str | None) -> tuple[str, ...]:
    """Read the column names that a converter may have left in the model's metadata: a JSON list, or commas between."""
    if not text:
        return ()
    try:
        names = orjson.loads(text)
    except orjson.JSONDecodeError:
        names = [name.strip() for name in text.split(",")]
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _spec(node: Any) -> TensorSpec:
    kind = {"tensor": "tensor", "seq": "sequence", "map": "map"}.get(node.type.split("(")[0])
    innermost = _INNERMOST.search(node.type)
    datatype = _DATATYPES.get(innermost.group(1)) if innermost else None
    if kind is None or datatype is None:
        raise ModelInvalid(f"{node.name!r} has type {node.type}, which can't be served. Convert the model without it.")
    dimensions = tuple(node.shape) if kind == "tensor" else ()
    return TensorSpec(name=node.name, datatype=datatype, dimensions=dimensions, kind=kind)


def _run_error(error: Exception) -> Exception:
    text = _reason(error)
    if "InvalidArgument" in type(error).__name__:
        return InvalidRequest(f"The model does not take these inputs: {text}.")
    return InferenceFailed(f"The model failed: {text}.")


def _reason(error: Exception) -> str:
    """Take the telling part of an ONNX Runtime message: no source paths, no trailing dot, one line."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : ", "", str(error))
    text = re.sub(r"Load model from \S+ failed:\s*", "", text)
    text = re.sub(r"/\S*onnxruntime\S*\.(cc|h):\d+ ", "", text)
    text = _CPP_FUNCTION.sub("", text)
    return " ".join(text.split()).rstrip(".")[:500]

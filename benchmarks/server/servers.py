"""The servers of the benchmark: what each is installed from, how it is started, and how it is asked.

A new peer is one more entry here and a file in ``peers/``.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PEERS = HERE / "peers"
ONNX = ("onnxruntime==1.32.0", "numpy<3")
ROWS = {"row": 1, "rows": 100}
"""Payload → number of rows for the linear model; ``image`` and ``bytes`` are for the CNN."""
PAYLOADS = ("row", "rows", "image", "bytes")


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request: where it goes and what it is."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """One server of the comparison."""

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Path, Path, int, Path], list[str]]
    """From the environment's ``bin``, the model, the port and a folder of its own to a command line."""
    ask: Callable[[str, np.ndarray], Ask | None]
    """From a payload's name and its array to the request; ``None`` if the server can't take it."""
    environment: Callable[[Path, int, Path], dict[str, str]] = lambda model, port, folder: {}
    ready_path: str = "/"
    python: str = ""
    """``system``: Debian's own Python, whose shared library PyTriton's stub needs."""
    answers: Callable[[bytes, Mapping[str, str]], np.ndarray | None] = lambda body, headers: None
    """From an answer's body to the predictions, to be compared with ONNX Runtime's own."""


def _v1(path: str) -> Callable[[str, np.ndarray], Ask | None]:
    def ask(payload: str, x: np.ndarray) -> Ask | None:
        if payload == "bytes":
            return None
        return Ask(path, json.dumps({"instances": x.tolist()}).encode(), _JSON)

    return ask


def _v2(payload: str, x: np.ndarray) -> Ask:
    entry: dict[str, object] = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
    if payload != "bytes":
        entry["data"] = x.reshape(-1).tolist()
        return Ask("/v2/models/bench/infer", json.dumps({"inputs": [entry]}).encode(), _JSON)
    raw = x.tobytes()
    entry["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [entry]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Ask("/v2/models/bench/infer", head + raw, headers)


def _v2_json(payload: str, x: np.ndarray) -> Ask | None:
    return None if payload == "bytes" else _v2(payload, x)


def _ours(payload: str, x: np.ndarray) -> Ask | None:
    return _v1("/v1/models/bench:predict")(payload, x) if payload in ROWS else _v2(payload, x)


def _bento(payload: str, x: np.ndarray) -> Ask | None:
    return None if payload == "bytes" else Ask("/predict", json.dumps({"x": x.tolist()}).encode(), _JSON)


def _starlette(payload: str, x: np.ndarray) -> Ask:
    if payload == "bytes":
        return Ask("/predict", x.tobytes(), {"Content-Type": "application/octet-stream"})
    return Ask("/predict", json.dumps({"instances": x.tolist()}).encode(), _JSON)


def _hello(payload: str, x: np.ndarray) -> Ask | None:
    return _ours(payload, x)


def _predictions(body: bytes, headers: Mapping[str, str]) -> np.ndarray:
    return np.asarray(json.loads(body)["predictions"], dtype=np.float32)


def _bento_answer(body: bytes, headers: Mapping[str, str]) -> np.ndarray:
    return np.asarray(json.loads(body), dtype=np.float32)


def _outputs(body: bytes, headers: Mapping[str, str]) -> np.ndarray:
    length = headers.get("inference-header-content-length")
    head = json.loads(body[: int(length)] if length else body)
    (output,) = head["outputs"]
    if "data" not in output:
        return np.frombuffer(body[int(length or 0) :], dtype=np.float32).reshape(output["shape"])
    return np.asarray(output["data"], dtype=np.float32).reshape(output["shape"])


def _either(body: bytes, headers: Mapping[str, str]) -> np.ndarray:
    return _predictions(body, headers) if b'"predictions"' in body[:20] else _outputs(body, headers)


_JSON = {"Content-Type": "application/json"}


def _write_mlserver(binary: Path, model: Path, port: int, folder: Path) -> list[str]:
    settings = {
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    own = {"name": "bench", "implementation": "mlserver_model.OnnxModel", "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps(own))
    return [str(binary / "mlserver"), "start", str(folder)]


def _our_environment(model: Path, port: int, folder: Path) -> dict[str, str]:
    return {
        "MODELENDPOINT_MODEL_URI": f"file://{model}",
        "MODELENDPOINT_NAME": "bench",
        "MODELENDPOINT_PORT": str(port),
        "MODELENDPOINT_MANAGEMENT_PORT": str(port + 1),
        "MODELENDPOINT_HOST": "127.0.0.1",
        "MODELENDPOINT_MODEL_DIR": str(folder),
        "MODELENDPOINT_DRAIN_SECONDS": "0",
        "PYTHONPATH": str(HERE.parents[1] / "server"),
    }


def _bench_model(model: Path, port: int, folder: Path) -> dict[str, str]:
    return {"BENCH_MODEL": str(model), "PYTHONPATH": str(PEERS), "DO_NOT_TRACK": "True"}


OURS = (
    "flask==3.1.3", "granian==2.8.7", *ONNX, "obstore==0.12.1", "orjson==3.13.0", "prometheus-client==0.26.0",
    "pysimdjson==7.0.2", "waitress==3.0.2",
)  # fmt: skip

SERVERS = (
    Server(
        name="modelendpoint",
        requirements=OURS,
        command=lambda binary, model, port, folder: [str(binary / "python"), "-m", "modelendpoint_server"],
        environment=_our_environment,
        ask=_ours,
        answers=_either,
        ready_path="/v2/health/ready",
    ),
    Server(
        name="MLServer",
        requirements=("mlserver==1.7.1", "uvloop==0.21.0", *ONNX),
        command=_write_mlserver,
        environment=_bench_model,
        ask=_v2_json,
        answers=_outputs,
        ready_path="/v2/models/bench/ready",
    ),
    Server(
        name="KServe V1",
        requirements=("kserve==0.21.0", *ONNX),
        command=lambda binary, model, port, folder: [
            str(binary / "python"), str(PEERS / "kserve_server.py"), str(model), str(port)
        ],
        ask=_v1("/v1/models/bench:predict"),
        answers=_predictions,
        ready_path="/v2/health/ready",
    ),
    Server(
        name="KServe V2",
        requirements=("kserve==0.21.0", *ONNX),
        command=lambda binary, model, port, folder: [
            str(binary / "python"), str(PEERS / "kserve_server.py"), str(model), str(port)
        ],
        ask=_v2,
        answers=_outputs,
        ready_path="/v2/health/ready",
    ),
    Server(
        name="PyTriton",
        requirements=("nvidia-pytriton==0.7.0", *ONNX),
        python="system",
        command=lambda binary, model, port, folder: [
            str(binary / "python"), str(PEERS / "pytriton_server.py"), str(model), str(port)
        ],
        ask=_v2,
        answers=_outputs,
        ready_path="/v2/models/bench/ready",
    ),
    Server(
        name="BentoML",
        requirements=("bentoml==1.4.40", *ONNX),
        command=lambda binary, model, port, folder: [
            str(binary / "bentoml"), "serve", "bento_service:Bench", "--working-dir", str(PEERS), "--host", "127.0.0.1",
            "--port", str(port),
        ],
        environment=_bench_model,
        ask=_bento,
        answers=_bento_answer,
        ready_path="/readyz",
    ),
    Server(
        name="LitServe",
        requirements=("litserve==0.2.19", *ONNX),
        command=lambda binary, model, port, folder: [
            str(binary / "python"), str(PEERS / "lit_server.py"), str(model), str(port)
        ],
        ask=_v1("/predict"),
        answers=_predictions,
        ready_path="/health",
    ),
    Server(
        name="Starlette + uvicorn",
        requirements=("starlette==1.10.0", "uvicorn[standard]==0.54.0", "orjson==3.13.0", *ONNX),
        command=lambda binary, model, port, folder: [
            str(binary / "uvicorn"), "starlette_app:app", "--host", "127.0.0.1", "--port", str(port),
            "--no-access-log", "--log-level", "error",
        ],
        environment=_bench_model,
        ask=_starlette,
        answers=_predictions,
    ),
    Server(
        name="plain Flask + gunicorn",
        requirements=("flask==3.1.3", "gunicorn==27.0.1", *ONNX),
        command=lambda binary, model, port, folder: [
            str(binary / "gunicorn"), "flask_plain:app", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread",
            "--threads", "8", "--keep-alive", "75", "--log-level", "error", "--no-control-socket",
        ],
        environment=_bench_model,
        ask=_v1("/predict"),
        answers=_predictions,
    ),
    Server(
        name="granian answering ok",
        requirements=OURS,
        command=lambda binary, model, port, folder: [
            str(binary / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
            "--blocking-threads", "1", "--log-level", "error", "--no-ws", "hello:app",
        ],
        environment=_bench_model,
        ask=_hello,
    ),
)  # fmt: skip

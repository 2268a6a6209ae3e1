"""What one server process is told by its environment, with every default; see the table in docs/server-api.md.

No reading of the environment here: ``from_environment`` takes a mapping.
"""

import dataclasses
import ipaddress
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from modelendpoint_server.errors import InvalidSettings

PREFIX = "MODELENDPOINT_"

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

REFUSED_NETWORKS: Networks = tuple(
    ipaddress.ip_network(network)
    for network in (
        # This pod and this node: unspecified, loopback, link-local; in the last one most clouds have their metadata.
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/128", "::1/128", "fe80::/10"),
        # Metadata elsewhere: AWS and its EKS pod identity, Google, Alibaba, Oracle, Azure's host.
        *("fd00:ec2::/64", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32"),
        # No single host's: multicast, reserved, broadcast.
        *("224.0.0.0/4", "240.0.0.0/4", "ff00::/8"),
    )
)
"""Where no store is. Private networks are none of them: a store inside the cluster has an address of one."""


class NonFinite(StrEnum):
    """What to do with inputs that are not a finite number."""

    REJECT = "Reject"
    ALLOW = "Allow"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


def _setting(default: Any, doc: str) -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that is set from outside. A field's variable is its name in capitals behind ``MODELENDPOINT_``."""

    model_uri: str = _setting(
        dataclasses.MISSING,
        "Where the model is: `s3://` `gs://` `az://` `https://` `http://` `hf://` `oci://` `pvc://` `configmap://` "
        "`file://`.",
    )
    name: str = _setting("model", "The endpoint's name; it is the model's name in the protocols.")
    namespace: str = _setting("", "The endpoint's namespace; routers know a server by it.")
    revision: str = _setting("0", "The revision that this process serves; sent as `x-model-revision`.")
    model_version: str = _setting("", "The model's version, for people.")
    model_sha256: str = _setting("", "Digest that the model must have; other bytes are refused.")
    host: str = _setting("0.0.0.0", "Address that both ports listen on.")
    port: int = _setting(8080, "Port for predictions.")
    management_port: int = _setting(8081, "Port for health, metrics and the report.")
    model_dir: Path = _setting(Path("/models"), "The only folder that is written to.")
    revision_dir: Path = _setting(
        Path("/etc/modelendpoint/revision"), "Folder whose file `sha256` names the digest that the revision must have."
    )
    credentials_dir: Path = _setting(
        Path("/etc/modelendpoint/credentials"), "Folder of the mounted credentials, one file a key."
    )
    monitoring_dir: Path = _setting(
        Path("/etc/modelendpoint/monitoring"),
        "Folder whose file `config.json` says which share of the requests the monitor gets, and where it is.",
    )
    service_account: str = _setting(
        "", "The pod's ServiceAccount, if the store is to be reached by its workload identity; empty: it is not."
    )
    pvc_dir: Path = _setting(Path("/mnt/pvc"), "Folder under which claims of `pvc://` are mounted.")
    configmap_dir: Path = _setting(Path("/mnt/configmap"), "Folder under which `configmap://` objects are mounted.")

    max_model_bytes: int = _setting(20 * 2**30, "Largest model, in bytes, packed and unpacked.")
    max_model_files: int = _setting(2000, "Most files that a model may have.")
    max_unpack_ratio: int = _setting(100, "Most unpacked bytes for each byte of an archive.")
    download_timeout_seconds: float = _setting(3600.0, "Longest time for getting a model.")
    download_stall_seconds: float = _setting(30.0, "Longest time without a byte before a download is tried again.")
    download_min_bytes_per_second: int = _setting(4096, "Slowest download, over a minute, before it is given up.")
    refused_networks: Networks = _setting(
        REFUSED_NETWORKS,
        "Networks that no store may be in, with commas between: this pod, its node, its cloud's metadata. Empty: all"
        " are allowed.",
    )

    max_body_bytes: int = _setting(32 * 2**20, "Largest request body, in bytes, as sent and unpacked.")
    max_rows: int = _setting(100_000, "Most rows in one request.")
    max_nesting: int = _setting(32, "Deepest nesting of a JSON request.")
    max_concurrency: int = _setting(
        0, "Most predictions that run at the same time; 0: the number of cores that the container may use, at least 2."
    )
    max_waiting: int = _setting(
        0,
        "Most requests that wait for one of these places before new ones get 503; 0: all of the server's threads, so"
        " that none is turned away and connections wait their turn.",
    )
    request_timeout_seconds: float = _setting(
        60.0, "Longest time for one prediction, waiting included; then it is stopped and answered 504."
    )
    memory_reserve_bytes: int = _setting(
        64 * 2**20,
        "Memory between the process's own cap and the container's limit, so that too much is an error and no kill.",
    )
    http_threads: int = _setting(
        0,
        "Threads that take requests; 0: 2 for each core, 4 to 16. A client that sends its body slowly holds one;"
        " the router in front takes that on.",
    )
    intra_op_threads: int = _setting(0, "ONNX Runtime's threads; 0: the cores that the container may use.")
    execution_providers: tuple[str, ...] = _setting(
        ("CPUExecutionProvider",), "ONNX Runtime execution providers in order of preference, with commas between."
    )
    non_finite: NonFinite = _setting(
        NonFinite.REJECT,
        "`Reject` answers 400 to inputs with NaN, Infinity or null; `Allow` passes them on, null and empty as NaN.",
    )
    batch_max_size: int = _setting(
        1,
        "Most rows that are gathered from several requests into one run; 1: off; 0: up to 32 if a measurement at the"
        " start says that it helps.",
    )
    batch_max_delay_milliseconds: float = _setting(2.0, "Longest wait for more rows before a batch runs.")
    golden_examples_file: str = _setting("", "File with golden examples that the model must reproduce.")
    golden_examples_uri: str = _setting("", "URI of golden examples; any scheme that models have.")
    golden_absolute_tolerance: float = _setting(1e-5, "Largest absolute difference from a golden output.")
    golden_relative_tolerance: float = _setting(1e-4, "Largest relative difference from a golden output.")
    warm_up: bool = _setting(True, "Run the model once with made-up inputs before it is ready.")
    fast_path: bool = _setting(True, "Answer plain predictions in front of Flask's dispatch.")
    page: bool = _setting(True, "Serve the page at `/` and the OpenAPI document.")
    drain_seconds: float = _setting(
        2.0, "After SIGTERM: time in which requests are still taken, each answered with `Connection: close`."
    )
    log_level: str = _setting("INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`.")
    log_format: LogFormat = _setting(LogFormat.JSON, "`json` or `text`.")
    gzip_min_bytes: int = _setting(
        65536, "Answers from this size on are compressed for clients that accept gzip; 0: never."
    )
    vertex_predict_route: str = _setting("", "One more path for predictions; also taken from `AIP_PREDICT_ROUTE`.")
    vertex_health_route: str = _setting("", "One more path for health; also taken from `AIP_HEALTH_ROUTE`.")
    access_log: bool = _setting(False, "Log one line for each request, without payloads.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, needs_model: bool = True) -> "Settings":
        """Read the settings; raise ``InvalidSettings`` for an unknown variable or a value that does not fit."""
        fields = {PREFIX + field.name.upper(): field for field in dataclasses.fields(cls)}
        given = {**_vertex(environment), **{k: v for k, v in environment.items() if k.startswith(PREFIX)}}
        unknown = sorted(given.keys() - fields.keys())
        if unknown:
            raise InvalidSettings(f"Unknown variable {unknown[0]}. Known are: {', '.join(sorted(fields))}.")
        types_ = typing.get_type_hints(cls)
        values = {fields[key].name: _parse(key, text, types_[fields[key].name]) for key, text in given.items()}
        if not needs_model:
            values.setdefault("model_uri", "")
        elif not values.get("model_uri"):
            raise InvalidSettings("MODELENDPOINT_MODEL_URI is not set. Set it to where the model is.")
        return cls(**values)


def _vertex(environment: Mapping[str, str]) -> dict[str, str]:
    """Take what a Vertex AI custom container is told, unless our own variables say otherwise."""
    taken = {
        "AIP_HTTP_PORT": "PORT",
        "AIP_STORAGE_URI": "MODEL_URI",
        "AIP_PREDICT_ROUTE": "VERTEX_PREDICT_ROUTE",
        "AIP_HEALTH_ROUTE": "VERTEX_HEALTH_ROUTE",
    }
    return {PREFIX + ours: environment[theirs] for theirs, ours in taken.items() if environment.get(theirs)}


def _parse(key: str, text: str, kind: Any) -> Any:
    try:
        return _parsers(kind)(text.strip())
    except (ValueError, KeyError) as error:
        raise InvalidSettings(f"{key} is {text!r}; {_expected(kind)} is expected.") from error


def _parsers(kind: Any) -> Any:
    if kind is bool:
        return _parse_bool
    if kind == Networks:
        return lambda text: tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    if isinstance(kind, types.GenericAlias):
        return lambda text: tuple(part.strip() for part in text.split(",") if part.strip())
    return kind


def _parse_bool(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


def _expected(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " or ".join(kind)
    if kind == Networks:
        return "a list of networks such as 10.0.0.0/8"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")


def describe_settings() -> str:
    """Render every setting as the Markdown table of docs/server-api.md."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for field in dataclasses.fields(Settings):
        lines.append(f"| `{PREFIX}{field.name.upper()}` | {_shown(field.default)} | {field.metadata['doc']} |")
    return "\n".join(lines) + "\n"


def _shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if default != "" else "empty"


def http_threads(settings: Settings, cores: int) -> int:
    """Return the number of threads that take requests."""
    return settings.http_threads or min(16, max(4, 2 * cores))

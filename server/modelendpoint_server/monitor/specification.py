"""What the monitor is told: the JSON of ``MODELENDPOINT_MONITOR``, and the few variables around it. Reads no environment."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from modelendpoint_server.batch.specification import Format
from modelendpoint_server.errors import InvalidSettings
from modelendpoint_server.settings import PREFIX, Settings

_OWN = (
    "MONITOR",
    "MONITOR_PORT",
    "MONITOR_CREDENTIALS_DIR",
    "MONITOR_HASH_KEY_DIR",
    "MONITOR_REFERENCE_CREDENTIALS_DIR",
)
_SECONDS = 300.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptureWanted:
    """What is stored of the samples, and where."""

    uri: str
    percent: float = 100.0
    """Percent of all requests that are stored; servers may send more, for those that count."""
    format: Format = Format.PARQUET
    redact: tuple[str, ...] = ()
    """Columns that are not stored."""
    hash: tuple[str, ...] = ()
    """Columns of which only a keyed hash is stored."""
    max_seconds: float = _SECONDS
    """Longest time from a sample to its file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """Everything that a monitor is told."""

    server: Settings
    """Name, ports, folders and networks, as for a server; there is no model."""
    capture: CaptureWanted | None
    port: int
    """Where model servers send their samples."""
    credentials_dir: Path
    hash_key_dir: Path
    reference_credentials_dir: Path
    document: Mapping[str, Any]
    """All of the JSON, for those that count samples."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "MonitorSettings":
        """Read the settings; raise ``InvalidSettings``."""
        own = {name: environment.get(PREFIX + name, "") for name in _OWN}
        others = {key: value for key, value in environment.items() if key.removeprefix(PREFIX) not in own}
        try:
            document = orjson.loads(own["MONITOR"] or "{}")
            capture = _capture(document["capture"]) if document.get("capture") else None
            port = int(own["MONITOR_PORT"] or 8082)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidSettings(f"{PREFIX}MONITOR or {PREFIX}MONITOR_PORT can't be read: {error!r}.") from error
        return cls(
            server=Settings.from_environment(others, needs_model=False),
            capture=capture,
            port=port,
            credentials_dir=Path(own["MONITOR_CREDENTIALS_DIR"] or "/etc/modelendpoint/capture-credentials"),
            hash_key_dir=Path(own["MONITOR_HASH_KEY_DIR"] or "/etc/modelendpoint/hash-key"),
            reference_credentials_dir=Path(
                own["MONITOR_REFERENCE_CREDENTIALS_DIR"] or "/etc/modelendpoint/reference-credentials"
            ),
            document=document,
        )


def _capture(told: Mapping[str, Any]) -> CaptureWanted:
    return CaptureWanted(
        uri=str(told["uri"]),
        percent=float(told.get("percent") or 100.0),
        format=Format(told.get("format") or Format.PARQUET),
        redact=tuple(told.get("redact") or ()),
        hash=tuple(told.get("hash") or ()),
        max_seconds=float(told.get("maxSeconds") or _SECONDS),
    )

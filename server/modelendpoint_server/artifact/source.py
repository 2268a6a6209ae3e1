"""What every kind of store offers, and what it is told."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from modelendpoint_server.errors import ModelForbidden, ModelNotFound, StoreUnavailable
from modelendpoint_server.settings import REFUSED_NETWORKS, Networks


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """One file of a model as the store lists it."""

    path: str
    """Relative to the model's folder, with slashes."""
    size: int | None
    """Bytes; ``None`` when the store does not tell before it sends."""
    location: str
    """Where the store has it; only the source itself reads this."""
    version: str | None = None
    """ETag or the like; a resumed download goes on only if it is still the same."""
    sha256: str | None = None
    """Digest that the store vouches for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach the stores."""

    credentials: Mapping[str, str]
    """Keys of the mounted Secret."""
    pvc_dir: Path
    configmap_dir: Path
    stall_seconds: float
    timeout_seconds: float
    service_account: str = ""
    """Name of the ServiceAccount by whose workload identity the store is reached; the cloud's client finds its token."""
    refused_networks: Networks = REFUSED_NETWORKS
    """Networks that no store may be in."""


class Source(Protocol):
    """A model in a store. Methods raise ``ModelNotFound``, ``ModelForbidden`` or ``StoreUnavailable``."""

    def files(self) -> list[RemoteFile]:
        """List the model's files: one, or those of a folder."""

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Read a file's bytes from an offset on; raise ``RangeRefused`` if only the whole file can be had."""

    def close(self) -> None:
        """Let go of what is still open; most keep nothing open."""
        return


class RangeRefused(Exception):
    """The store sends the file only from its beginning; start again."""


def not_found(shown: str) -> ModelNotFound:
    """Say that nothing is there."""
    return ModelNotFound(f"Nothing is at {shown}. Upload the model or correct model.uri.")


def forbidden(shown: str, detail: str) -> ModelForbidden:
    """Say that the store refuses."""
    return ModelForbidden(
        f"The store refuses access to {shown} ({detail}). Check model.credentialsSecretRef or model.serviceAccountName,"
        " and the rights it gives."
    )


def unavailable(shown: str, detail: str) -> StoreUnavailable:
    """Say that the store does not answer as it should."""
    return StoreUnavailable(f"The store of {shown} can't be reached or is in trouble ({detail}). It is tried again.")

"""The files that people write: YAML with endpoints, ConfigMaps and Secrets, and the model files that it names.

What an API server would refuse is refused here. Applying what was read must not be here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from modelendpoint.errors import CliError
from modelendpoint.local.copies import Copies
from modelendpoint_operator import names
from modelendpoint_operator.api.spec import ModelEndpointSpec

NAMESPACE = "default"
"""Namespace of what names none."""

_ON_THIS_MACHINE = ("file", "pvc")
_MOUNTED = ("ConfigMap", "Secret")

_MEANINGLESS = {
    ("server", "resources"): "spec.server.resources: a process here may use the whole machine",
    ("server", "nodeSelector"): "spec.server.nodeSelector: there is one machine",
    ("server", "tolerations"): "spec.server.tolerations: there is one machine",
    ("routing", "replicas"): "spec.routing.replicas: one router runs here",
    ("routing", "gateway"): "spec.routing.gateway: no Gateway API is here",
    ("autoscaling",): "spec.autoscaling: the number of replicas stays as it is",
}
"""Fields that change nothing on one machine, and why."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the files say now."""

    manifests: tuple[Mapping[str, Any], ...]
    files: tuple[Path, ...]
    """Every file that was read or named, for whoever watches them."""
    notes: tuple[str, ...]
    """What is different here from a cluster, for people, each once."""

    @property
    def endpoints(self) -> list[tuple[str, str]]:
        """Namespaces and names of the endpoints."""
        return [
            (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            for manifest in self.manifests
            if manifest["kind"] == names.KIND
        ]


def read_sources(paths: Sequence[Path], copies: Copies) -> Sources:
    """Read all files; raise ``CliError`` for what can't be applied."""
    manifests, files, notes = [], [*paths], []
    for path in paths:
        for document in _documents(path):
            found = _Document(path, document)
            if found.kind in _MOUNTED:
                manifests.append(found.with_identity())
            elif found.kind == names.KIND:
                manifests.append(found.endpoint(copies))
                files += found.local_files()
                notes += found.notes()
            else:
                notes.append(f"{found.kind} {found.name}: only {names.KIND}, ConfigMap and Secret are run here")
    sources = Sources(manifests=tuple(manifests), files=tuple(files), notes=tuple(dict.fromkeys(notes)))
    if not sources.endpoints:
        raise CliError(f"No {names.KIND} is in {', '.join(map(str, paths))}. `mep demo` writes one to begin with.")
    twice = {key for key in sources.endpoints if sources.endpoints.count(key) > 1}
    if twice:
        raise CliError(f"{names.KIND} {min(twice)[1]} is there twice. Give one of them another name.")
    return sources


def signature(files: Sequence[Path]) -> tuple[object, ...]:
    """Say what would be another if a file had changed."""
    return tuple((path, *_stamp(entry)) for path in files for entry in _entries(path))


def _entries(path: Path) -> list[Path]:
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _documents(path: Path) -> Iterator[Any]:
    try:
        yield from (document for document in yaml.safe_load_all(path.read_text()) if document is not None)
    except OSError as error:
        raise CliError(f"{path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CliError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


class _Document:
    """One document of a file."""

    def __init__(self, path: Path, document: Any) -> None:
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise CliError(f"{path} holds something that is no Kubernetes object: it has no kind.")
        metadata = document.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise CliError(f"{path}: {document['kind']} has no metadata.name.")
        self._path = path
        self._document = document
        self.kind: str = document["kind"]
        self.name = str(metadata["name"])

    def with_identity(self) -> dict[str, Any]:
        """Complete the namespace."""
        metadata = {"namespace": NAMESPACE, **self._document["metadata"]}
        return {**self._document, "metadata": metadata}

    def endpoint(self, copies: Copies) -> dict[str, Any]:
        """Build the manifest to apply: as written, with copies in place of local files."""
        if self._document.get("apiVersion") != names.API_VERSION:
            raise CliError(f"{self._path}: {self.kind} {self.name} needs apiVersion {names.API_VERSION}.")
        spec = self._document.get("spec")
        if not isinstance(spec, dict):
            raise CliError(f"{self._path}: {self.kind} {self.name} has no spec. Write at least spec.model.uri.")
        spec = self._with_copies(spec, copies)
        try:
            ModelEndpointSpec.model_validate(spec)
        except ValidationError as error:
            raise CliError("\n".join(self._sentences(error))) from error
        return {**self.with_identity(), "spec": spec}

    def local_files(self) -> list[Path]:
        """Name the files that its URIs lead to."""
        return [path for part in self._models() if (path := self._local_path(part)) is not None]

    def notes(self) -> list[str]:
        """Say what is different here."""
        spec = self._document["spec"]
        found = [sentence for field, sentence in _MEANINGLESS.items() if _has(spec, field)]
        if _has(spec, ("model", "credentialsSecretRef")):
            name = spec["model"]["credentialsSecretRef"].get("name")
            found.append(
                f"spec.model.credentialsSecretRef: without a Secret {name} in the files, credentials are taken from "
                "this shell's environment (AWS_ACCESS_KEY_ID, HF_TOKEN, ...)"
            )
        uris = [str(part.get("uri")) for part in self._models()]
        if any(uri.startswith("pvc://") for uri in uris):
            found.append(f"pvc://<claim>/...: read from the folder <claim> beside {self._path.name}")
        if any(uri.startswith("file://") for uri in uris):
            found.append("file://...: a cluster can't read it; upload the model before you apply this file there")
        return found

    def _models(self) -> list[Mapping[str, Any]]:
        model = self._document["spec"].get("model")
        parts = [model, model.get("goldenExamples")] if isinstance(model, dict) else []
        return [part for part in parts if isinstance(part, dict)]

    def _local_path(self, part: Mapping[str, Any]) -> Path | None:
        """Find the file that a URI leads to. The claims of ``pvc://`` are folders beside the YAML file."""
        scheme, _, rest = str(part.get("uri")).partition("://")
        return (self._path.parent / rest).resolve() if scheme in _ON_THIS_MACHINE else None

    def _with_copies(self, spec: dict[str, Any], copies: Copies) -> dict[str, Any]:
        model = spec.get("model")
        if not isinstance(model, dict):
            return spec
        model = self._with_copy(model, copies)
        golden = model.get("goldenExamples")
        if isinstance(golden, dict):
            copied = self._with_copy(golden, copies)
            model = {**model, "goldenExamples": {**golden, "uri": copied.get("uri")}}
        return {**spec, "model": model}

    def _with_copy(self, part: dict[str, Any], copies: Copies) -> dict[str, Any]:
        path = self._local_path(part)
        if path is None:
            return part
        written = str(part["uri"])
        taken = copies.take(path, written=f"file://{path}" if written.startswith("file://") else written)
        pin = {"sha256": taken.sha256} if taken.sha256 and not part.get("sha256") else {}
        return {**part, "uri": taken.uri, **pin}

    def _sentences(self, error: ValidationError) -> Iterator[str]:
        for part in error.errors():
            field = ".".join(str(step) for step in ("spec", *part["loc"]))
            yield f"{self._path}: {self.kind} {self.name}: {field}: {part['msg']}"


def _has(spec: Mapping[str, Any], field: Sequence[str]) -> bool:
    value: Any = spec
    for name in field:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value is not None

"""The files that people write: YAML with endpoints, batch predictions, ConfigMaps and Secrets, and the model files that it names.

What an API server would refuse is refused here. Applying what was read must not be here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelendpoint.errors import CliError
from modelendpoint.linting.documents import Document, Finding, read_documents
from modelendpoint.linting.lint import lint_document
from modelendpoint.local.batch_files import CLAIMS, BatchFile, local_uri, refuse_without_libraries
from modelendpoint.local.copies import Copies
from modelendpoint.local.objects import key_of
from modelendpoint_operator import names

NAMESPACE = "default"
"""Namespace of what names none."""

_ON_THIS_MACHINE = ("file", "pvc")
_RUN = (names.KIND, names.BATCH_KIND)
_MOUNTED = ("ConfigMap", "Secret")

_REPLAY_GATES = ("rollout", "gates", "replay")
_PLACES = ("input", "output")
"""Parts of a replay gate with a URI."""

_MEANINGLESS = {
    ("model", "serviceAccountName"): "spec.model.serviceAccountName: stores are reached as this shell reaches them",
    ("server", "resources"): "spec.server.resources: a process here may use the whole machine",
    ("server", "nodeSelector"): "spec.server.nodeSelector: there is one machine",
    ("server", "tolerations"): "spec.server.tolerations: there is one machine",
    ("server", "topologySpreadConstraints"): "spec.server.topologySpreadConstraints: there is one machine",
    ("server", "priorityClassName"): "spec.server.priorityClassName: no process pushes another one aside",
    ("routing", "replicas"): "spec.routing.replicas: one router runs here",
    ("routing", "gateway"): "spec.routing.gateway: no Gateway API is here",
    ("routing", "ingress"): "spec.routing.ingress: no Ingress is here",
    ("routing", "tls"): "spec.routing.tls: routers here speak plain HTTP on loopback",
    ("monitoring",): "spec.monitoring: nothing of requests is kept here",
    ("autoscaling", "targetCPUUtilizationPercent"): (
        "spec.autoscaling.targetCPUUtilizationPercent: nothing measures the CPU; targetRequestsPerSecond works"
    ),
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
        return [(key.namespace, key.name) for key in map(key_of, self.manifests) if key.kind == names.KIND]


def read_sources(paths: Sequence[Path], copies: Copies) -> Sources:
    """Read all files; raise ``CliError`` for what can't be applied."""
    manifests, named, notes = [], [*paths], []
    for document, folder in _documents(paths):
        manifest = _with_namespace(document)
        if manifest["kind"] == names.KIND:
            endpoint = _EndpointFile(manifest, folder)
            manifests.append(endpoint.applied(document, copies))
            if endpoint.replay_gates:
                refuse_without_libraries(f"A replay gate of ModelEndpoint {manifest['metadata']['name']}")
            named += endpoint.local_files()
            notes += endpoint.notes()
        elif manifest["kind"] == names.BATCH_KIND:
            batch = BatchFile(manifest, folder)
            manifests.append(_checked(document, batch.relocated()))
            refuse_without_libraries(f"BatchPrediction {manifest['metadata']['name']}")
            notes += batch.notes()
        elif manifest["kind"] in _MOUNTED:
            manifests.append(manifest)
        else:
            kinds = ", ".join((*_RUN, *_MOUNTED))
            notes.append(f"{manifest['kind']} {manifest['metadata']['name']}: only {kinds} are run here")
    sources = Sources(manifests=tuple(manifests), files=tuple(named), notes=tuple(dict.fromkeys(notes)))
    keys = [key for key in map(key_of, sources.manifests) if key.kind in _RUN]
    if not keys:
        raise CliError(
            f"No {' or '.join(_RUN)} is in {', '.join(map(str, paths))}. `mep demo` writes some to begin with."
        )
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise CliError(f"{twice.kind} {twice.name} is there twice. Give one of them another name.")
    return sources


def _documents(files: Sequence[Path]) -> Iterator[tuple[Document, Path]]:
    for path in files:
        documents, findings = read_documents(path)
        _refuse(findings)
        for document in documents:
            yield document, path.parent


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        raise CliError("\n".join(map(str, findings)))


def _with_namespace(document: Document) -> dict[str, Any]:
    """Complete the namespace; raise ``CliError`` for what is no object with a name."""
    value = document.value
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("name") or not isinstance(value.get("kind"), str):
        _refuse(lint_document(document))
        raise CliError(
            f"{document.file}:{document.line(())}: is no Kubernetes object: it has no kind or no metadata.name"
        )
    return {**value, "metadata": {"namespace": NAMESPACE, **metadata}}


def _checked(document: Document, changed: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be applied in place of a document; raise ``CliError`` for what an API server would refuse."""
    _refuse(lint_document(replace(document, value={**changed, "metadata": document.value["metadata"]})))
    return changed


class _EndpointFile:
    """An endpoint as it is written."""

    def __init__(self, manifest: dict[str, Any], folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        spec = manifest.get("spec")
        self._spec: dict[str, Any] = spec if isinstance(spec, dict) else {}
        model = self._spec.get("model")
        self._model: dict[str, Any] = model if isinstance(model, dict) else {}

    def applied(self, document: Document, copies: Copies) -> dict[str, Any]:
        """Build the manifest to apply: copies stand in for local files; raise ``CliError`` for what would be refused."""
        spec = {**self._spec, "model": self._with_copies(copies)} if self._model else self._manifest.get("spec")
        if spec is not None and self.replay_gates:
            spec = self._with_places_of_rows(spec)
        changed = {**self._manifest, "spec": spec}
        if spec is None:
            del changed["spec"]
        return _kept_awake(_without_what_is_not_here(_checked(document, changed)))

    @property
    def replay_gates(self) -> list[dict[str, Any]]:
        """The gates that compare predictions for recorded rows, as they are written."""
        value: Any = self._spec
        for name in _REPLAY_GATES:
            value = value.get(name) if isinstance(value, Mapping) else None
        return [gate for gate in value if isinstance(gate, dict)] if isinstance(value, list) else []

    def local_files(self) -> list[Path]:
        """Name the files that its URIs lead to."""
        return [path for part in self._parts() if (path := self._local_path(part)) is not None]

    def notes(self) -> list[str]:
        """Say what is different here."""
        found = [sentence for field, sentence in _MEANINGLESS.items() if _has(self._spec, field)]
        if _has(self._model, ("credentialsSecretRef",)):
            name = self._model["credentialsSecretRef"].get("name")
            found.append(
                f"spec.model.credentialsSecretRef: without a Secret {name} in the files, credentials are taken from "
                "this shell's environment (AWS_ACCESS_KEY_ID, HF_TOKEN, ...)"
            )
        if _may_sleep(self._spec):
            found.append("spec.autoscaling.minReplicas: 0: a process runs all the time here")
        places = [gate[part] for gate in self.replay_gates for part in _PLACES if isinstance(gate.get(part), dict)]
        uris = [str(part.get("uri")) for part in (*self._parts(), *places)]
        if any(uri.startswith("pvc://") for uri in uris):
            found.append(CLAIMS)
        if any(uri.startswith("file://") for uri in uris):
            found.append("file://...: a cluster can't read it; upload what it names before you apply this file there")
        return found

    def _parts(self) -> list[dict[str, Any]]:
        golden = self._model.get("goldenExamples")
        return [part for part in (self._model, golden) if isinstance(part, dict) and part]

    def _local_path(self, part: Mapping[str, Any]) -> Path | None:
        """Find the file that a URI leads to. The claims of ``pvc://`` are folders beside the YAML file."""
        scheme, _, rest = str(part.get("uri")).partition("://")
        return (self._folder / rest).resolve() if scheme in _ON_THIS_MACHINE else None

    def _with_places_of_rows(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Let replay gates read and write files of this machine, as BatchPredictions do."""
        rollout, gates = spec["rollout"], spec["rollout"]["gates"]
        replay = [self._relocated(gate) if isinstance(gate, dict) else gate for gate in gates["replay"]]
        return {**spec, "rollout": {**rollout, "gates": {**gates, "replay": replay}}}

    def _relocated(self, gate: dict[str, Any]) -> dict[str, Any]:
        places = {name: gate[name] for name in _PLACES if isinstance(gate.get(name), dict)}
        return gate | {
            name: {**place, "uri": local_uri(place["uri"], self._folder)}
            for name, place in places.items()
            if isinstance(place.get("uri"), str)
        }

    def _with_copies(self, copies: Copies) -> dict[str, Any]:
        model = self._with_copy(self._model, copies)
        golden = self._model.get("goldenExamples")
        if not isinstance(golden, dict):
            return model
        return {**model, "goldenExamples": {**golden, "uri": self._with_copy(golden, copies).get("uri")}}

    def _with_copy(self, part: dict[str, Any], copies: Copies) -> dict[str, Any]:
        path = self._local_path(part)
        if path is None:
            return part
        written = str(part["uri"])
        taken = copies.take(path, written=f"file://{path}" if written.startswith("file://") else written)
        pin = {"sha256": taken.sha256} if taken.sha256 and not part.get("sha256") else {}
        return {**part, "uri": taken.uri, **pin}


def _may_sleep(spec: Mapping[str, Any]) -> bool:
    autoscaling = spec.get("autoscaling")
    return isinstance(autoscaling, dict) and autoscaling.get("minReplicas") == 0


def _kept_awake(manifest: dict[str, Any]) -> dict[str, Any]:
    """Ask for one process at least. Where no load is aimed at, nothing else is to be scaled."""
    spec = manifest.get("spec")
    if not isinstance(spec, dict) or not _may_sleep(spec):
        return manifest
    others = {name: value for name, value in spec.items() if name != "autoscaling"}
    if "targetRequestsPerSecond" not in spec["autoscaling"]:
        return {**manifest, "spec": others}
    return {**manifest, "spec": {**others, "autoscaling": {**spec["autoscaling"], "minReplicas": 1}}}


def _without_what_is_not_here(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        return manifest
    kept = {name: value for name, value in spec.items() if name != "monitoring"}
    if _has(spec, ("routing", "tls")):
        kept["routing"] = {name: value for name, value in spec["routing"].items() if name != "tls"}
    return {**manifest, "spec": kept}


def _has(spec: Mapping[str, Any], field: Sequence[str]) -> bool:
    value: Any = spec
    for name in field:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value is not None

"""BatchPredictions as people write them: what in their files must read differently on one machine. Applying must not be here.

Nothing is copied: rows are read where they are, predictions go into the folder that is named, and as on a cluster a run
takes the model that is there when it starts. What it has begun with it is held to by digest.
"""

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelendpoint.errors import CliError
from modelendpoint.local.relocation import FILES

NEEDED = "pyarrow"
"""The package that only workers need, and that only the extra ``batch`` brings along."""

CLAIMS = "pvc://<claim>/...: the folder <claim> beside the YAML file"

_ON_THIS_MACHINE = ("file", "pvc")
_URIS = (("model",), ("compareWith", "model"), ("input",), ("output",))
"""Parts of the spec with a URI."""
_PLACEHOLDER = re.compile(r"(\{\{[^{}]*\}\})")
_WILD = "/*?"

_MEANINGLESS = {
    "resources": "spec.resources: a process here may use the whole machine",
    "serviceAccountName": "spec.serviceAccountName: stores are reached as this shell reaches them",
}


def refuse_without_libraries(called: str) -> None:
    """Raise ``CliError`` where the workers could not start."""
    if find_spec(NEEDED) is None:
        raise CliError(
            f"{called} needs the Python package {NEEDED}, which is not installed here."
            " Install it: pip install 'modelendpoint[batch]'"
        )


class BatchFile:
    """A BatchPrediction as it is written."""

    def __init__(self, manifest: Mapping[str, Any], folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        spec = manifest.get("spec")
        self._spec: Mapping[str, Any] = spec if isinstance(spec, dict) else {}

    def relocated(self) -> dict[str, Any]:
        """Build the manifest to apply: URIs that the API accepts stand in for files of this machine."""
        spec = self._spec
        for place in _URIS:
            spec = _replaced(spec, place, self._folder)
        return {**self._manifest, "spec": spec} if self._spec else dict(self._manifest)

    def notes(self) -> list[str]:
        """Say what is different here."""
        found = [sentence for field, sentence in _MEANINGLESS.items() if field in self._spec]
        uris = list(self._uris())
        if any(uri.startswith("pvc://") for uri in uris):
            found.append(CLAIMS)
        if any(uri.startswith("file://") for uri in uris):
            found.append("file://...: a cluster can't reach it; use a store before you apply this file there")
        return found

    def _uris(self) -> Iterator[str]:
        for place in _URIS:
            part: Any = self._spec
            for name in place:
                part = part.get(name) if isinstance(part, Mapping) else None
            if isinstance(part, Mapping):
                yield str(part.get("uri"))


def _replaced(part: Mapping[str, Any], place: tuple[str, ...], folder: Path) -> Mapping[str, Any]:
    """Replace the URI of the part at a place below, if there is one."""
    if not place:
        uri = part.get("uri")
        return {**part, "uri": local_uri(uri, folder)} if isinstance(uri, str) else part
    below = part.get(place[0])
    return {**part, place[0]: _replaced(below, place[1:], folder)} if isinstance(below, Mapping) else part


def local_uri(uri: str, folder: Path) -> str:
    """Name a file of this machine as the API accepts it; any other URI stays. Patterns and placeholders keep their meaning."""
    scheme, _, rest = uri.partition("://")
    if scheme not in _ON_THIS_MACHINE or not rest.strip("/"):
        return uri
    path = str((folder / rest).resolve()).lstrip("/") + ("/" if rest.endswith("/") else "")
    return FILES + "".join(
        text if _PLACEHOLDER.fullmatch(text) else quote(text, safe=_WILD) for text in _PLACEHOLDER.split(path)
    )

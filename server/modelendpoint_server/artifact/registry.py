"""Models in a container registry: ``oci://registry/repository:tag`` or ``…@sha256:digest``.

Files that were pushed as they are (ORAS, ModelPack) come as they are; layers of an image come unpacked.
"""

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from modelendpoint_server.artifact import web
from modelendpoint_server.artifact.source import Access, RangeRefused, RemoteFile, Source, forbidden, unavailable
from modelendpoint_server.artifact.uri import ModelUri
from modelendpoint_server.errors import InvalidUri, ModelInvalid

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)
_TITLE, _UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
_FILE_PATH = "org.cncf.model.filepath"
_REFERENCE = re.compile(r"(?P<repository>[a-z0-9._/-]+)(:(?P<tag>[\w.-]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MOST_MANIFEST_BYTES = 4 * 2**20


class RegistrySource(Source):
    """The files of one artifact."""

    def __init__(self, uri: ModelUri, access: Access) -> None:
        match = _REFERENCE.fullmatch(uri.path)
        if match is None:
            raise InvalidUri(f"{uri.shown} is incomplete. Write oci://<registry>/<repository>:<tag>.")
        self._repository = match["repository"]
        self._reference = match["digest"] or match["tag"] or "latest"
        self._shown = uri.shown
        self._access = access
        host = uri.host.rpartition(":")[0] or uri.host
        plain = access.credentials.get("REGISTRY_PLAIN_HTTP", "").lower() in ("true", "1")
        self._base = f"{'http' if plain or host in ('localhost', '127.0.0.1') else 'https'}://{uri.host}"
        self._login = _login(access.credentials, uri.host)
        self._headers: dict[str, str] = {}

    def files(self) -> list[RemoteFile]:
        """List the artifact's layers as files."""
        manifest = self._manifest(self._reference)
        if "manifests" in manifest:
            manifest = self._manifest(str(_first(manifest["manifests"]).get("digest")))
        layers = manifest.get("layers")
        if not isinstance(layers, list) or not layers:
            raise ModelInvalid(f"{self._shown} has no files. Push the model with oras or modctl.")
        return [self._file(layer, index) for index, layer in enumerate(layers)]

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Stream a layer's blob."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._get(file.location, headers)
        if offset and answer.status != 206:
            answer.close()
            raise RangeRefused
        yield from web.read_pieces(answer, shown=self._shown)

    def _file(self, layer: Any, index: int) -> RemoteFile:
        layer = layer if isinstance(layer, dict) else {}
        annotations, size = layer.get("annotations") or {}, layer.get("size")
        kind, digest = str(layer.get("mediaType", "")), str(layer.get("digest", ""))
        if not _DIGEST.fullmatch(digest) or not isinstance(annotations, dict) or type(size) is not int or size < 0:
            raise ModelInvalid(f"{self._shown} has a layer without sha256 digest or size. Push it anew.")
        name = _file_name(annotations, kind)
        if name is None:
            # The number keeps two packed layers apart; the name is gone once they are unpacked.
            name = f"layer-{index}.tar"
        return RemoteFile(name, size, f"/v2/{self._repository}/blobs/{digest}", sha256=digest.removeprefix("sha256:"))

    def _manifest(self, reference: str) -> dict[str, Any]:
        with self._get(f"/v2/{self._repository}/manifests/{reference}", {"Accept": _MANIFESTS}) as answer:
            text = answer.read(_MOST_MANIFEST_BYTES)
        try:
            manifest = orjson.loads(text)
        except ValueError as error:
            raise unavailable(self._shown, "its answer is no JSON") from error
        if not isinstance(manifest, dict):
            raise unavailable(self._shown, "its answer is no manifest")
        return manifest

    def _get(self, path: str, headers: Mapping[str, str]) -> Any:
        """Ask the registry, and once more with a token if it wants one."""
        answer = web.send(self._base + path, {**headers, **self._headers}, shown=self._shown, access=self._access)
        if answer.status == 401 and not self._headers:
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer.close()
            self._headers = self._authorize(challenge)
            answer = web.send(self._base + path, {**headers, **self._headers}, shown=self._shown, access=self._access)
        if answer.status >= 300:
            answer.close()
            raise web.of_status(answer.status, self._shown)
        return answer

    def _authorize(self, challenge: str) -> dict[str, str]:
        basic = {"Authorization": f"Basic {self._login}"} if self._login else {}
        if not challenge.lower().startswith("bearer"):
            if not basic:
                raise forbidden(self._shown, "HTTP 401")
            return basic
        values = dict(_CHALLENGE.findall(challenge))
        realm = values.pop("realm", "")
        if not realm.startswith(("https://", self._base)):
            raise forbidden(self._shown, "it wants the password sent elsewhere, unencrypted")
        query = urllib.parse.urlencode({**values, "scope": f"repository:{self._repository}:pull"})
        with web.request(f"{realm}?{query}", shown=self._shown, headers=basic, access=self._access) as answer:
            try:
                token = json.loads(answer.read(_MOST_MANIFEST_BYTES))
                return {"Authorization": f"Bearer {token.get('token') or token['access_token']}"}
            except (ValueError, KeyError, AttributeError) as error:
                raise forbidden(self._shown, "it gives no token") from error


def _file_name(annotations: Mapping[str, Any], kind: str) -> str | None:
    """Return the name of the file that a layer is; ``None`` when it is packed."""
    if _TITLE in annotations:
        # oras says "tar" of every file; a folder that it packed is marked.
        return None if annotations.get(_UNPACK) == "true" else str(annotations[_TITLE])
    if _FILE_PATH in annotations and not kind.endswith((".tar", ".tar+gzip")):
        return str(annotations[_FILE_PATH])
    return None


def _first(manifests: Any) -> Mapping[str, Any]:
    first = manifests[0] if isinstance(manifests, list) and manifests else None
    if isinstance(first, dict) and _DIGEST.fullmatch(str(first.get("digest"))):
        return first
    raise ModelInvalid("The artifact's index names no manifest. Push it anew.")


def _login(credentials: Mapping[str, str], host: str) -> str:
    """Return user and password in base64, from plain keys or from a Docker configuration."""
    user, password = credentials.get("REGISTRY_USERNAME"), credentials.get("REGISTRY_PASSWORD")
    if user is not None and password is not None:
        return base64.b64encode(f"{user}:{password}".encode()).decode()
    try:
        entry = json.loads(credentials.get(".dockerconfigjson", "{}"))["auths"][host]
        if "auth" in entry:
            return str(entry["auth"])
        return base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
    except (ValueError, KeyError, TypeError):
        return ""

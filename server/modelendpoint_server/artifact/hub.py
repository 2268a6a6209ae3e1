"""Models in the Hugging Face hub: ``hf://org/repo[@revision]/path``, a file or a folder."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson

from modelendpoint_server.artifact import web
from modelendpoint_server.artifact.source import Access, RangeRefused, RemoteFile, Source, not_found, unavailable
from modelendpoint_server.artifact.uri import ModelUri
from modelendpoint_server.errors import InvalidUri

_HUB = "https://huggingface.co"
_MOST_LISTING_BYTES = 16 * 2**20


class HubSource(Source):
    """A file or a folder of one repository at one revision."""

    def __init__(self, uri: ModelUri, access: Access) -> None:
        repository, _, self._path = uri.path.partition("/")
        name, _, revision = repository.partition("@")
        if not name or not self._path.strip("/"):
            raise InvalidUri(f"{uri.shown} is incomplete. Write hf://<org>/<repository>[@<revision>]/<path>.")
        self._path = self._path.strip("/")
        self._shown = uri.shown
        self._repository = f"{quote(uri.host)}/{quote(name)}"
        self._revision = quote(revision or "main", safe="")
        self._hub = access.credentials.get("HF_ENDPOINT", _HUB).rstrip("/")
        self._access = access
        token = access.credentials.get("HF_TOKEN")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def files(self) -> list[RemoteFile]:
        """List the folder that the path is in, and take from it what the path means."""
        parent = self._path.rpartition("/")[0]
        entries = self._tree(parent)
        here = {entry.get("path"): entry for entry in entries}.get(self._path)
        if here is None:
            raise not_found(self._shown)
        if here.get("type") == "file":
            return [self._file(here, self._path.rpartition("/")[2])]
        inside = [entry for entry in self._tree(self._path, recursive=True) if entry.get("type") == "file"]
        return [self._file(entry, str(entry["path"])[len(self._path) + 1 :]) for entry in inside]

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Stream the file from wherever the hub redirects to."""
        headers = {**self._headers, **({"Range": f"bytes={offset}-"} if offset else {})}
        answer = web.request(file.location, shown=self._shown, headers=headers, access=self._access)
        if offset and answer.status != 206:
            answer.close()
            raise RangeRefused
        yield from web.read_pieces(answer, shown=self._shown)

    def _tree(self, path: str, *, recursive: bool = False) -> list[dict[str, Any]]:
        url = f"{self._hub}/api/models/{self._repository}/tree/{self._revision}/{quote(path)}"
        url = url.rstrip("/") + ("?recursive=true" if recursive else "")
        with web.request(url, shown=self._shown, headers=self._headers, access=self._access) as answer:
            text = answer.read(_MOST_LISTING_BYTES)
        try:
            entries = orjson.loads(text)
        except ValueError as error:
            raise unavailable(self._shown, "its answer is no JSON") from error
        if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
            raise unavailable(self._shown, "its answer is no listing")
        return entries

    def _file(self, entry: dict[str, Any], name: str) -> RemoteFile:
        path = quote(str(entry["path"]))
        large = entry.get("lfs") if isinstance(entry.get("lfs"), dict) else {}
        return RemoteFile(
            name,
            entry.get("size"),
            f"{self._hub}/{self._repository}/resolve/{self._revision}/{path}",
            version=entry.get("oid"),
            sha256=large.get("oid"),  # type: ignore[union-attr]
        )


def _is_entry(entry: Any) -> bool:
    """Tell whether it has what is read of it; a mirror may send anything."""
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        return False
    large = entry.get("lfs") or {}
    sizes, texts = (
        (entry.get("size", 0),),
        (entry.get("oid", ""), large.get("oid", "") if isinstance(large, dict) else 0),
    )
    return all(type(size) is int and size >= 0 for size in sizes) and all(isinstance(text, str) for text in texts)

"""The API server of an instance: objects as files of the state folder, and who wants to hear of changes.

Bodies are replaced as a whole and never changed in place. Deciding what to write must not be here.
"""

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from modelendpoint.local.mounts import write_whole
from modelendpoint_operator import names

Object = Mapping[str, Any]


class Key(NamedTuple):
    """Where an object is."""

    kind: str
    namespace: str
    name: str


class ObjectStore:
    """All objects of an instance. Safe to use from all threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Object], None]] = []
        self._objects = {key_of(body): body for body in _read_all(folder)}

    def listen(self, listener: Callable[[Object], None]) -> None:
        """Call this with every object that was written or deleted, after it was."""
        self._listeners.append(listener)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Read an object; None when there is none of that name."""
        with self._lock:
            return self._objects.get(Key(kind, namespace, name))

    def list_all(self, kind: str | None = None, *, namespace: str | None = None) -> list[Object]:
        """Read all objects, or those of a kind or a namespace, by name."""
        with self._lock:
            found = [
                (key, body)
                for key, body in self._objects.items()
                if kind in (None, key.kind) and namespace in (None, key.namespace)
            ]
        return [body for _, body in sorted(found, key=lambda entry: entry[0])]

    def owned(self, uid: str) -> list[Object]:
        """Read all objects that belong to an object."""
        return [body for body in self.list_all() if _owner(body) == uid]

    def apply(self, manifest: Object, *, now: datetime) -> Object:
        """Write an object; what the store itself knows of it stays, and so does its status."""
        with self._lock:
            before = self._objects.get(key_of(manifest))
            body = {**manifest, "metadata": {**manifest["metadata"], **_kept(before, now)}}
            if before and "status" in before:
                body["status"] = before["status"]
            if manifest["kind"] in (names.KIND, names.BATCH_KIND):
                body["metadata"] |= {
                    "generation": _generation(before, manifest),
                    "annotations": _annotations(before) | _annotations(manifest),
                }
            return self._write(body)

    def set_status(self, key: Key, *, uid: str, status: Object) -> None:
        """Write an object's status; one that is gone needs none, and one that is as it was is not written."""
        with self._lock:
            body = self._objects.get(key)
            if body is not None and body["metadata"]["uid"] == uid and body.get("status") != status:
                self._write({**body, "status": status})

    def merge(self, key: Key, spec: Object) -> None:
        """Set fields of an object's spec; one that is gone needs none."""
        with self._lock:
            body = self._objects.get(key)
            if body is not None:
                self._write({**body, "spec": {**body["spec"], **spec}})

    def annotate(self, key: Key, annotations: Mapping[str, str]) -> bool:
        """Set annotations of an object; tell whether there is one."""
        with self._lock:
            body = self._objects.get(key)
            if body is None:
                return False
            together = _annotations(body) | dict(annotations)
            self._write({**body, "metadata": {**body["metadata"], "annotations": together}})
            return True

    def delete(self, key: Key, *, uid: str | None = None) -> None:
        """Delete an object and what belongs to it; another one of the same name is left alone."""
        with self._lock:
            body = self._objects.get(key)
            if body is None or uid not in (None, body["metadata"]["uid"]):
                return
            del self._objects[key]
            self._path(key).unlink(missing_ok=True)
        for child in self.owned(body["metadata"]["uid"]):
            self.delete(key_of(child))
        self._tell(body)

    def _write(self, body: Object) -> Object:
        key = key_of(body)
        self._objects[key] = body
        if key.kind != "Secret":  # what is secret stays in memory
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(body, indent=1).encode())
        self._tell(body)
        return body

    def _path(self, key: Key) -> Path:
        return self._folder / key.kind / key.namespace / f"{key.name}.json"

    def _tell(self, body: Object) -> None:
        for listener in self._listeners:
            listener(body)


def remove_objects(folder: Path) -> None:
    """Forget all objects of a store that nobody uses."""
    shutil.rmtree(folder, ignore_errors=True)


def _read_all(folder: Path) -> Iterator[Object]:
    for path in sorted(folder.glob("*/*/*.json")):
        if not path.name.startswith("."):
            yield json.loads(path.read_bytes())


def key_of(body: Object) -> Key:
    """Say where an object is."""
    return Key(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])


def _owner(body: Object) -> str | None:
    owners = body["metadata"].get("ownerReferences") or []
    return str(owners[0]["uid"]) if owners else None


def _kept(before: Object | None, now: datetime) -> dict[str, Any]:
    if before is None:
        return {"uid": str(uuid.uuid4()), "creationTimestamp": now.isoformat(timespec="seconds")}
    return {name: before["metadata"][name] for name in ("uid", "creationTimestamp")}


def _annotations(body: Object | None) -> dict[str, str]:
    return dict(body["metadata"].get("annotations") or {}) if body else {}


def _generation(before: Object | None, manifest: Object) -> int:
    if before is None:
        return 1
    generation: int = before["metadata"]["generation"]
    return generation + 1 if before["spec"] != manifest["spec"] else generation

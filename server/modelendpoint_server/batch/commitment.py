"""Exactly once: how a shard's files become part of the output, however often and by however many it is worked.

::

    files on the pod's disk ─► staged/<shard>-<attempt>/…       beside; nobody reads it
                            ─► shards/<shard>.json              created once: this is the commit, the first one wins
                            ─► part-<shard>.<ext>               the winner's staged files get their final names

Killed before the record: the next attempt begins anew. Killed after it: whoever comes next only moves the files. A second
worker of the same shard finds the record and throws its own files away.
"""

import dataclasses
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from modelendpoint_server.batch.errors import Incomplete
from modelendpoint_server.batch.places import Target
from modelendpoint_server.batch.plan import Plan
from modelendpoint_server.batch.writing import Written

MANIFEST = "_MANIFEST.json"
_THREADS = 16
_RECORD = re.compile(r"/(\d+)\.json$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One file of the output."""

    path: str
    staged: str
    rows: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What became of one shard."""

    shard: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    parts: tuple[Part, ...]
    first_rejected: Mapping[str, Any] | None
    comparison: Mapping[str, Any] | None
    inputs: Mapping[str, str]
    """The sha256 of the input's files that this shard read as a whole, by their paths."""
    seconds: float

    def as_json(self) -> bytes:
        """Write it."""
        return orjson.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> "Record":
        """Read what ``as_json`` wrote."""
        document = orjson.loads(data)
        parts = tuple(Part(**part) for part in document.pop("parts"))
        return cls(**document, parts=parts)


class Ledger:
    """The plan and the records of one run, in the output's store."""

    def __init__(self, target: Target, run: str) -> None:
        self._target = target
        self._folder = f"_batch/{run}"

    @property
    def manifest_uri(self) -> str:
        """Where the manifest is, once the run is complete."""
        return f"{self._target.shown}/{MANIFEST}"

    def read_plan(self) -> Plan | None:
        """Read the plan; ``None`` when there is none yet."""
        data = self._target.read(f"{self._folder}/plan.json")
        return None if data is None else Plan.from_json(data)

    def create_plan(self, plan: Plan) -> Plan:
        """Write the plan; return the one that is there if another was first."""
        if self._target.create(f"{self._folder}/plan.json", plan.as_json()):
            return plan
        return self.read_plan() or plan

    def stage(self, shard: int, files: Iterable[tuple[str, Written]]) -> tuple[Part, ...]:
        """Store a shard's files beside the output."""
        folder = f"{self._folder}/staged/{shard:05d}-{secrets.token_hex(4)}"
        parts = []
        for path, written in files:
            staged = f"{folder}/{path}"
            self._target.put(staged, written.path)
            parts.append(Part(path=path, staged=staged, rows=written.rows, bytes=written.bytes, sha256=written.sha256))
        return tuple(parts)

    def commit(self, record: Record) -> Record:
        """Make the record the shard's; return it, or the one of whoever was first."""
        if self._target.create(self._record_path(record.shard), record.as_json()):
            self.publish(record)
            return record
        for part in record.parts:
            self._target.delete(part.staged)
        first = self.read_record(record.shard)
        if first is None:
            raise Incomplete(f"The record of shard {record.shard} is gone. It is worked again.")
        self.publish(first)
        return first

    def publish(self, record: Record) -> None:
        """Give a committed shard's files their final names; done already is fine."""
        for part in record.parts:
            try:
                self._target.move(part.staged, part.path)
            except FileNotFoundError:
                final = self._target.head(part.path)
                if final is None or final.size != part.bytes:
                    self._target.delete(self._record_path(record.shard))
                    raise Incomplete(
                        f"{part.path} of {self._target.shown} was removed or replaced by others. The shard is worked again."
                    ) from None

    def read_record(self, shard: int) -> Record | None:
        """Read a shard's record; ``None`` when it is not committed."""
        data = self._target.read(self._record_path(shard))
        return None if data is None else Record.from_json(data)

    def committed(self) -> frozenset[int]:
        """List the shards that have a record."""
        found = (_RECORD.search(file.path) for file in self._target.list(f"{self._folder}/shards"))
        return frozenset(int(match[1]) for match in found if match)

    def records(self, shards: Sequence[int]) -> list[Record]:
        """Read the records of some shards."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return [record for record in pool.map(self.read_record, shards) if record is not None]

    def publish_all(self, records: Sequence[Record]) -> None:
        """See that the files of all shards have their final names."""
        sizes = {file.path: file.size for file in self._target.list("")}
        late = [r for r in records if any(sizes.get(p.path) != p.bytes or p.staged in sizes for p in r.parts)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(self.publish, late))

    def keep_rejected(self, shard: int, written: Written) -> str:
        """Store the errors of a shard that is given up; return where they are."""
        path = f"{self._folder}/rejected/{shard:05d}.jsonl"
        self._target.put(path, written.path)
        return f"{self._target.shown}/{path}"

    def read_manifest(self) -> dict[str, Any] | None:
        """Read the manifest; ``None`` while the run is not complete."""
        data = self._target.read(MANIFEST)
        return None if data is None else dict(orjson.loads(data))

    def create_manifest(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest, the last of all; return the one that is there if another was first."""
        if self._target.create(MANIFEST, orjson.dumps(document, option=orjson.OPT_INDENT_2)):
            return dict(document)
        return self.read_manifest() or dict(document)

    def clean_up(self) -> None:
        """Remove what killed attempts left beside."""
        self._target.clear(f"{self._folder}/staged")

    def foreign_files(self) -> list[str]:
        """Name files of the output that another run wrote there."""
        return [
            file.path
            for file in self._target.list("")
            if not file.path.startswith("_batch/")
            and (file.path == MANIFEST or file.path.rpartition("/")[2].startswith("part-"))
        ]

    def _record_path(self, shard: int) -> str:
        return f"{self._folder}/shards/{shard:05d}.json"

"""The end of a run: all shards are committed, so their files are looked over, and the manifest is written, last of all."""

import datetime
from collections.abc import Sequence
from typing import Any

from modelendpoint_server.batch.commitment import Ledger, Record
from modelendpoint_server.batch.comparison import Tally
from modelendpoint_server.batch.errors import ErrorThresholdExceeded, Incomplete
from modelendpoint_server.batch.plan import Plan
from modelendpoint_server.batch.specification import BatchSettings, Threshold


def finish(settings: BatchSettings, plan: Plan, ledger: Ledger, *, now: datetime.datetime) -> dict[str, Any]:
    """Write the manifest, or return the one that is there; raise ``Incomplete`` while a shard is missing."""
    if (manifest := ledger.read_manifest()) is not None and manifest.get("run") == plan.run:
        return manifest
    records = ledger.records(range(len(plan.shards)))
    if len(records) < len(plan.shards):
        raise Incomplete(
            f"{len(plan.shards) - len(records)} of {len(plan.shards)} shards are not committed. The run's workers must end"
            " first."
        )
    check_threshold(settings.run.threshold, records)
    ledger.publish_all(records)
    manifest = ledger.create_manifest(_manifest(settings, plan, records, now))
    ledger.clean_up()
    return manifest


def check_threshold(threshold: Threshold, records: Sequence[Record]) -> None:
    """Raise ``ErrorThresholdExceeded`` if too many rows of the run were rejected."""
    rejected, total = sum(r.rows_rejected for r in records), sum(r.rows_in for r in records)
    if rejected > threshold.allowed(total):
        first = next(r.first_rejected for r in records if r.first_rejected)
        raise ErrorThresholdExceeded(exceeded(rejected, total, threshold, dict(first), "errors/ of the output"))


def exceeded(rejected: int, total: int | None, threshold: Threshold, first: dict[str, Any], where: str) -> str:
    """Tell what was rejected, where all of it stands, and what to do."""
    allowed = f"{threshold.percent:g} %" if threshold.percent is not None else str(threshold.rows)
    column = f", column {first['column']!r}" if first.get("column") else ""
    return (
        f"{rejected} of {total if total is not None else 'the'} rows were rejected, {allowed} are allowed. The first:"
        f" {first.get('file')}, row {first.get('row')}{column}: {first.get('reason')} All are in {where}. Correct the"
        " input, or raise errorThreshold."
    )


def _manifest(settings: BatchSettings, plan: Plan, records: Sequence[Record], now: datetime.datetime) -> dict[str, Any]:
    run, server = settings.run, settings.server
    digests = {path: sha256 for record in records for path, sha256 in record.inputs.items()}
    manifest: dict[str, Any] = {
        "run": plan.run,
        "completed": now.isoformat(timespec="seconds"),
        "model": {
            "name": server.name,
            "version": server.model_version or None,
            "revision": server.revision,
            "sha256": plan.sha256,
        },
        "rowsIn": sum(r.rows_in for r in records),
        "rowsOut": sum(r.rows_out for r in records),
        "rowsRejected": sum(r.rows_rejected for r in records),
        "workSeconds": round(sum(r.seconds for r in records), 3),
        # Of Parquet only the columns that are needed are read, so nobody knows the digest of the file.
        "input": [
            {"path": f.path, "bytes": f.size, "etag": f.version, "sha256": f.sha256 or digests.get(f.path)}
            for f in plan.files
        ],
        "shards": [_shard(record) for record in records],
    }
    if run.challenger is not None:
        manifest["compare"] = {
            **Tally.of(record.comparison for record in records).as_json(),
            "model": {
                "version": run.challenger.version or None,
                "revision": run.challenger.revision or None,
                "sha256": plan.challenger_sha256,
            },
        }
    return manifest


def _shard(record: Record) -> dict[str, Any]:
    return {
        "shard": record.shard,
        "rowsIn": record.rows_in,
        "rowsOut": record.rows_out,
        "rowsRejected": record.rows_rejected,
        "seconds": record.seconds,
        "files": [{"path": p.path, "rows": p.rows, "bytes": p.bytes, "sha256": p.sha256} for p in record.parts],
    }

"""The load rig: send predictions at a constant rate and judge every answer. Also a program of its own.

An **open loop**: request *i* is due at ``start + i / rate`` whatever became of the others, and its latency counts from
that moment, so that a server that stands still for a second shows it in every request that was due in that second.
Nothing is retried: one request is one entry in the result.

Every answer says which revision made it (``x-model-revision``) and from which bytes (``x-model-sha256``). The plan's
oracle knows what those bytes compute for each row, and the rig compares: an answer of status 200 with another model's
numbers has failed like a dropped connection has.

``mep load`` runs it in its own process. Inside a test cluster this one file runs in a pod of the operator image, put
there by a ConfigMap (``support.load_run``); therefore it imports aiohttp and the standard library only::

    python load.py plan.json

It prints one JSON document a line: ``{"progress": …}`` every second and ``{"result": …}`` at the end, which is reached
after ``count`` requests, after ``durationSeconds``, or on SIGTERM or SIGINT. What is in flight then is waited for.
The exit code is 0 whenever the measurement was finished, however many requests failed: the reader of the result judges.
"""

import asyncio
import contextlib
import csv
import enum
import io
import itertools
import json
import math
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp

REVISION_HEADER = "x-model-revision"
SHA256_HEADER = "x-model-sha256"

FAILURES_KEPT = 20
BODY_EXCERPT = 500
STOP_LATENCY_SECONDS = 0.1
"""How long the rig may take to notice that it shall stop."""

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

Row = Sequence[float | str]
"""All values that a model computes for one row, in the order of its outputs."""


class Kind(enum.StrEnum):
    """How a request failed. The first that applies, from top to bottom."""

    TRANSPORT = "transport"  # no answer: refused, reset, closed, no such host
    TIMEOUT = "timeout"  # no complete answer in time
    STATUS = "status"  # an answer outside 2xx
    MISSING_HEADER = "missing_header"  # an answer that does not say who made it
    UNKNOWN_REVISION = "unknown_revision"  # made from bytes that the oracle does not know, or from two kinds of bytes
    WRONG_ANSWER = "wrong_answer"  # not what those bytes compute for this row


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, ready to be sent: a row of the data set in one of the formats, which the answer shall have too."""

    row: int
    path: str
    content_type: str
    body: str


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What to send and what to expect. ``requests`` are taken in turn, again and again."""

    url: str
    requests: Sequence[Request]
    oracle: Mapping[str, Sequence[Row]] | None
    """From the sha256 of a model to what it computes for each row. Without it any answer of status 2xx is right."""
    rate: float
    """Requests per second."""
    count: int | None = None
    duration_seconds: float = 600
    """Stop sending after this time at the latest; no run is without end."""
    new_connection_share: float = 0.5
    """Share of the requests that open a connection of their own; the others use kept-alive ones."""
    timeout_seconds: float = 5
    relative_tolerance: float = 1e-4
    absolute_tolerance: float = 1e-6

    def to_json(self) -> str:
        """Write the plan for ``python load.py``."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "LoadPlan":
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "requests": [Request(**request) for request in fields["requests"]]})


@dataclass(frozen=True, kw_only=True)
class FailedRequest:
    """Everything that is known about a request that failed."""

    kind: Kind
    number: int
    row: int
    path: str
    content_type: str
    connection: str
    """``new`` or ``kept``."""
    scheduled_second: float
    latency_seconds: float
    explanation: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def __str__(self) -> str:
        said = f" status {self.status} {dict(self.headers)} {self.body!r}" if self.status is not None else ""
        return (
            f"#{self.number} at {self.scheduled_second:.3f} s row {self.row} {self.path} {self.content_type} "
            f"({self.connection} connection, {self.latency_seconds * 1000:.0f} ms): "
            f"{self.kind}: {self.explanation};{said}".rstrip(";")
        )


@dataclass(frozen=True, kw_only=True)
class RevisionCount:
    """The right answers of one revision, and when it was first and last heard (seconds of scheduled time)."""

    sha256: str
    answers: int
    first_second: float
    last_second: float


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What came of a plan."""

    sent: int
    failed: int
    failed_by_kind: Mapping[str, int]
    first_failures: Sequence[FailedRequest]
    by_status: Mapping[str, int]
    revisions: Mapping[str, RevisionCount]
    timeline: Sequence[Mapping[str, int]]
    """For each second of scheduled time the right answers by revision, and the others as ``failed``."""
    latency_p50_seconds: float
    latency_p99_seconds: float
    latency_max_seconds: float
    started_at: str
    seconds: float
    """From the first request's scheduled time to the last answer."""
    achieved_rate: float
    connections_opened: int
    connections_reused: int
    latest_seconds: float
    """How late the rig itself sent a request at worst. When this is long, the rig had no processor, and latencies and
    timeouts say little about the server."""

    @property
    def by_revision(self) -> dict[str, int]:
        """Count the right answers of each revision."""
        return {revision: count.answers for revision, count in self.revisions.items()}

    def assert_none_failed(self) -> "LoadResult":
        """Raise ``AssertionError`` that names the requests which failed; also when nothing was sent."""
        if self.sent == 0:
            raise AssertionError("The load rig sent no request, so nothing was tested.")
        if self.failed:
            shown = "\n".join(f"  {failure}" for failure in self.first_failures)
            raise AssertionError(f"{self.summary()}\nThe first {len(self.first_failures)} of them:\n{shown}")
        return self

    def summary(self) -> str:
        """Say the result in two lines."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.failed_by_kind.items())
        revisions = ", ".join(f"revision {revision}: {count}" for revision, count in self.by_revision.items())
        return (
            f"{self.failed} of {self.sent} requests failed{f' ({kinds})' if kinds else ''}; {revisions or 'no answers'}\n"
            f"p50 {self.latency_p50_seconds * 1000:.1f} ms, p99 {self.latency_p99_seconds * 1000:.1f} ms, "
            f"max {self.latency_max_seconds * 1000:.1f} ms at {self.achieved_rate:.1f} requests/s "
            f"({self.connections_opened} connections opened, {self.connections_reused} times one used again; "
            f"the rig itself was {self.latest_seconds * 1000:.0f} ms late at most)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Reduce to what JSON can carry."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "LoadResult":
        """Read what ``to_dict`` wrote."""
        failures = [FailedRequest(**{**each, "kind": Kind(each["kind"])}) for each in fields["first_failures"]]
        revisions = {revision: RevisionCount(**each) for revision, each in fields["revisions"].items()}
        return cls(**{**fields, "first_failures": failures, "revisions": revisions})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for a request."""

    status: int
    headers: Mapping[str, str]
    body: str


class Failure(Exception):
    """A request failed, in this way."""

    def __init__(self, kind: Kind, explanation: str) -> None:
        super().__init__(explanation)
        self.kind = kind


class Judge:
    """Compare answers with what the revision that claims them computes."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._sha256_of_revision: dict[str, str] = {}

    def judge(self, request: Request, answer: Answer) -> tuple[str, str]:
        """Return the revision and sha256 that made a right answer. Raises ``Failure`` otherwise."""
        if not 200 <= answer.status < 300:
            raise Failure(Kind.STATUS, f"status {answer.status}")
        revision, sha256 = _named(answer, REVISION_HEADER), _named(answer, SHA256_HEADER)
        if self._plan.oracle is None:
            return revision, sha256
        expected = self._expected(self._plan.oracle, request, revision=revision, sha256=sha256)
        try:
            values = parse_answer(answer)
        except (ValueError, LookupError, TypeError) as error:
            raise Failure(Kind.WRONG_ANSWER, f"the answer can't be read: {error!r}") from error
        if not self._equal(expected, values):
            raise Failure(
                Kind.WRONG_ANSWER,
                f"revision {revision} ({sha256[:12]}…) computes {_short(expected)} for row {request.row}, "
                f"the answer was {_short(values)}",
            )
        return revision, sha256

    def _expected(self, oracle: Mapping[str, Sequence[Row]], request: Request, *, revision: str, sha256: str) -> Row:
        if sha256 not in oracle:
            known = ", ".join(sorted(digest[:12] + "…" for digest in oracle))
            raise Failure(
                Kind.UNKNOWN_REVISION, f"revision {revision} answered from {sha256[:12]}…; the oracle knows {known}"
            )
        first = self._sha256_of_revision.setdefault(revision, sha256)
        if first != sha256:
            raise Failure(
                Kind.UNKNOWN_REVISION, f"revision {revision} answered from {first} before and from {sha256} now"
            )
        return oracle[sha256][request.row]

    def _equal(self, expected: Row, values: Row) -> bool:
        return len(expected) == len(values) and all(map(self._same, expected, values))

    def _same(self, expected: float | str, value: float | str) -> bool:
        if isinstance(expected, str) or isinstance(value, str):
            return expected == value
        return math.isclose(
            expected, value, rel_tol=self._plan.relative_tolerance, abs_tol=self._plan.absolute_tolerance
        )


def _named(answer: Answer, header: str) -> str:
    value = answer.headers.get(header)
    if not value:
        raise Failure(Kind.MISSING_HEADER, f"no {header} in the answer")
    return value


def _short(values: Row) -> str:
    text = json.dumps(list(values))
    return text if len(text) <= 120 else text[:120] + "…"


def parse_answer(answer: Answer) -> Row:
    """Read all values of the one row that was asked for, from JSON ``predictions`` or from CSV.

    Raises ``ValueError``, ``LookupError`` or ``TypeError`` for anything else.
    """
    if answer.headers.get("content-type", "").startswith("text/csv"):
        records = [record for record in csv.reader(io.StringIO(answer.body)) if record]
        if not 1 <= len(records) <= 2:
            raise ValueError(f"one row was asked for, but the CSV has {len(records)} records with its header")
        return [_number_or_text(cell) for cell in records[-1]]
    predictions = json.loads(answer.body)["predictions"]
    if len(predictions) != 1:
        raise ValueError(f"one row was asked for, but {len(predictions)} came")
    return list(_leaves(predictions[0]))


def _leaves(value: Any) -> Iterator[float | str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is neither a number nor a text")
    else:
        yield value


def _number_or_text(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


@dataclass
class Connections:
    """Counts how often a connection was opened and how often an open one was used again."""

    opened: int = 0
    reused: int = 0

    def trace(self) -> aiohttp.TraceConfig:
        """Build the tracer that counts."""
        config = aiohttp.TraceConfig()
        config.on_connection_create_end.append(self._count_opened)
        config.on_connection_reuseconn.append(self._count_reused)
        return config

    async def _count_opened(self, session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        self.opened += 1

    async def _count_reused(self, session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        self.reused += 1


class Record:
    """Everything that has come back so far."""

    def __init__(self) -> None:
        self.sent = 0
        self.latencies: list[float] = []
        self.failed_by_kind: Counter[str] = Counter()
        self.first_failures: list[FailedRequest] = []
        self.by_status: Counter[str] = Counter()
        self.revisions: dict[str, RevisionCount] = {}
        self.timeline: list[Counter[str]] = []
        self.latest = 0.0

    def add_sent(self, lateness: float) -> None:
        """Note that a request is on its way."""
        self.sent += 1
        self.latest = max(self.latest, lateness)

    def add_answer(self, scheduled: float, latency: float, *, revision: str, sha256: str) -> None:
        """Note a right answer."""
        seen = self.revisions.get(revision)
        self.revisions[revision] = RevisionCount(
            sha256=sha256,
            answers=seen.answers + 1 if seen else 1,
            first_second=min(seen.first_second, scheduled) if seen else scheduled,
            last_second=max(seen.last_second, scheduled) if seen else scheduled,
        )
        self._add(scheduled, latency, label=revision)

    def add_failure(self, failure: FailedRequest) -> None:
        """Note a request that failed."""
        self.failed_by_kind[failure.kind.value] += 1
        if len(self.first_failures) < FAILURES_KEPT:
            self.first_failures.append(failure)
        self._add(failure.scheduled_second, failure.latency_seconds, label="failed")

    def _add(self, scheduled: float, latency: float, *, label: str) -> None:
        self.latencies.append(latency)
        second = int(scheduled)
        while len(self.timeline) <= second:
            self.timeline.append(Counter())
        self.timeline[second][label] += 1

    def progress(self) -> dict[str, Any]:
        """Say how far it is."""
        by_revision = {revision: count.answers for revision, count in self.revisions.items()}
        return {
            "sent": self.sent,
            "finished": len(self.latencies),
            "failed": self.failed_by_kind.total(),
            "by_revision": by_revision,
        }

    def result(self, *, started_at: datetime, seconds: float, connections: Connections) -> LoadResult:
        """Sum up."""
        ordered = sorted(self.latencies)
        return LoadResult(
            sent=self.sent,
            failed=self.failed_by_kind.total(),
            failed_by_kind=dict(self.failed_by_kind),
            first_failures=sorted(self.first_failures, key=lambda failure: failure.number),
            by_status=dict(self.by_status),
            revisions=dict(sorted(self.revisions.items(), key=lambda item: item[1].first_second)),
            timeline=[dict(second) for second in self.timeline],
            latency_p50_seconds=quantile(ordered, 0.50),
            latency_p99_seconds=quantile(ordered, 0.99),
            latency_max_seconds=quantile(ordered, 1.00),
            started_at=started_at.isoformat(),
            seconds=seconds,
            achieved_rate=self.sent / seconds if seconds else 0.0,
            connections_opened=connections.opened,
            connections_reused=connections.reused,
            latest_seconds=self.latest,
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Take the smallest value that is not below ``share`` of all; 0 when there are none."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def takes_new_connection(number: int, share: float) -> bool:
    """Choose evenly, but in no rhythm that could fall together with the order of rows and formats."""
    return (number * GOLDEN_RATIO) % 1 < share


class Rig:
    """One run of one plan."""

    def __init__(self, plan: LoadPlan) -> None:
        self.record = Record()
        self._plan = plan
        self._judge = Judge(plan)
        self._connections = Connections()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Send nothing more; what is in flight is still waited for."""
        self._stop.set()

    async def run(self) -> LoadResult:
        """Send the plan's requests and judge the answers."""
        loop = asyncio.get_running_loop()
        async with self._session(keep_alive=True) as kept, self._session(keep_alive=False) as fresh:
            started_at, start = datetime.now(UTC), loop.time()
            async with asyncio.TaskGroup() as in_flight:
                for number in itertools.count():
                    scheduled = number / self._plan.rate
                    if self._is_over(number, scheduled) or not await self._due(start + scheduled):
                        break
                    is_new = takes_new_connection(number, self._plan.new_connection_share)
                    self.record.add_sent(loop.time() - start - scheduled)
                    in_flight.create_task(
                        self._send(number, start, fresh if is_new else kept, connection="new" if is_new else "kept")
                    )
        return self.record.result(started_at=started_at, seconds=loop.time() - start, connections=self._connections)

    def _session(self, *, keep_alive: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=not keep_alive),
            timeout=aiohttp.ClientTimeout(total=self._plan.timeout_seconds),
            trace_configs=[self._connections.trace()],
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _is_over(self, number: int, scheduled: float) -> bool:
        return number == self._plan.count or scheduled >= self._plan.duration_seconds

    async def _due(self, moment: float) -> bool:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            remaining = moment - loop.time()
            if remaining <= 0:
                return True
            await asyncio.sleep(min(remaining, STOP_LATENCY_SECONDS))
        return False

    async def _send(self, number: int, start: float, session: aiohttp.ClientSession, *, connection: str) -> None:
        loop = asyncio.get_running_loop()
        request = self._plan.requests[number % len(self._plan.requests)]
        scheduled = number / self._plan.rate
        answer: Answer | None = None
        try:
            answer = await _post(session, self._plan.url, request)
            latency = loop.time() - start - scheduled
            self.record.by_status[str(answer.status)] += 1
            revision, sha256 = self._judge.judge(request, answer)
            self.record.add_answer(scheduled, latency, revision=revision, sha256=sha256)
        except Failure as failure:
            self.record.add_failure(
                FailedRequest(
                    kind=failure.kind,
                    number=number,
                    row=request.row,
                    path=request.path,
                    content_type=request.content_type,
                    connection=connection,
                    scheduled_second=scheduled,
                    latency_seconds=loop.time() - start - scheduled,
                    explanation=str(failure),
                    status=answer.status if answer else None,
                    headers=answer.headers if answer else {},
                    body=answer.body[:BODY_EXCERPT] if answer else "",
                )
            )


async def _post(session: aiohttp.ClientSession, url: str, request: Request) -> Answer:
    """Send once. aiohttp repeats idempotent methods on a dropped kept-alive connection, but never a POST."""
    try:
        async with session.post(
            url + request.path,
            data=request.body.encode(),
            headers={"content-type": request.content_type, "accept": request.content_type},
            allow_redirects=False,
        ) as response:
            body = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status, headers=headers, body=body.decode(errors="replace"))
    except TimeoutError as error:
        raise Failure(Kind.TIMEOUT, _described(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Failure(Kind.TRANSPORT, _described(error)) from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def run_with_progress(plan: LoadPlan, tell: Callable[[dict[str, Any]], object]) -> LoadResult:
    """Run a plan and tell each second how far it is; SIGTERM and SIGINT end it early."""
    rig = Rig(plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, rig.stop)

    async def report() -> None:
        while True:
            await asyncio.sleep(1)
            tell(rig.record.progress())

    reporter = asyncio.create_task(report())
    result = await rig.run()
    reporter.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reporter
    return result


def _print_line(document: Mapping[str, Any]) -> None:
    print(json.dumps(document), flush=True)


def main(arguments: Sequence[str]) -> None:
    """Run the plan in the file that is the only argument."""
    if len(arguments) != 1:
        raise SystemExit("Usage: python load.py PLAN.json")
    plan = LoadPlan.from_json(Path(arguments[0]).read_text())
    result = asyncio.run(run_with_progress(plan, lambda progress: _print_line({"progress": progress})))
    _print_line({"result": result.to_dict()})


if __name__ == "__main__":
    main(sys.argv[1:])

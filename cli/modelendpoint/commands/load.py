"""``mep load``: predictions at a constant rate, and what became of them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from modelendpoint.errors import CliError, ExitCode
from modelendpoint.load_plan import compute_oracle, example_request, read_requests, split_url
from modelendpoint.load_rig import FailedRequest, LoadPlan, LoadResult, run_with_progress
from modelendpoint.output import Format, as_pairs, as_table, bad, good, output_option, print_document

_MOST_FAILURES = 5
_LONGEST_BODY = 200


@click.command()
@click.argument("url")
@click.option(
    "--rps",
    type=click.FloatRange(0, 100_000, min_open=True),
    default=50.0,
    show_default=True,
    help="Requests in a second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=30.0,
    show_default=True,
    help="How long to send.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Rows to send, one in a request, as CSV or JSON; without it the endpoint's own example.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Compare each answer with what this model computes; once for each version that may answer.",
)
@click.option(
    "--new-connections",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Share of the requests that open a connection of their own.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for an answer.",
)
@output_option
def load(
    url: str,
    rps: float,
    seconds: float,
    data: Path | None,
    models: tuple[str, ...],
    new_connections: float,
    timeout: float,
    output: Format,
) -> None:
    """Send predictions at a constant rate and judge answers.

    \b
      mep load http://127.0.0.1:8080 --rps 200 --data rows.csv
      mep load http://127.0.0.1:8080 --data rows.csv --model v1.onnx --model v2.onnx

    Requests are sent when they are due, whatever became of those before, and none is tried again. An answer is judged
    by its status and by whether it says which revision made it; with --model also by its numbers. Ctrl-C ends it early.
    The exit code is 1 when a request has failed.
    """
    base, path = split_url(url)
    if models and data is None:
        raise click.UsageError("--model needs the rows that the models are asked: --data rows.csv")
    plan = LoadPlan(
        url=base,
        requests=read_requests(data, path) if data else example_request(base, path),
        oracle=compute_oracle(models, data) if models and data else None,
        rate=rps,
        duration_seconds=seconds,
        new_connection_share=new_connections,
        timeout_seconds=timeout,
    )
    show = _show_progress if output is Format.TEXT else _show_nothing
    result = asyncio.run(run_with_progress(plan, show))
    if output is Format.TEXT:
        click.echo(_as_text(result))
    else:
        print_document(result.to_dict(), output)
    if result.sent == 0:
        raise CliError("No request was sent, so nothing was tried.")
    if result.failed:
        click.get_current_context().exit(ExitCode.FAILED)


def _show_progress(progress: Mapping[str, Any]) -> None:
    revisions = "".join(f", revision {name}: {count}" for name, count in progress["by_revision"].items())
    failed = (bad if progress["failed"] else str)(f"{progress['failed']} failed")
    click.echo(f"{progress['sent']} sent, {failed}{revisions}")


def _show_nothing(progress: Mapping[str, Any]) -> None:
    """Keep the output to one document."""


def _failure(failure: FailedRequest) -> str:
    answer = f": {failure.body[:_LONGEST_BODY]}" if failure.body else ""
    return f"  #{failure.number}, row {failure.row}, {failure.latency_seconds * 1000:.0f} ms: {failure.explanation}{answer}"


def _as_text(result: LoadResult) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.failed_by_kind.items())
    verdict = bad(f"{result.failed} ({kinds})") if result.failed else good("none")
    milliseconds = [
        f"{name} {seconds * 1000:.1f}"
        for name, seconds in (
            ("p50", result.latency_p50_seconds),
            ("p99", result.latency_p99_seconds),
            ("max", result.latency_max_seconds),
        )
    ]
    facts = [
        ("Sent", f"{result.sent} at {result.achieved_rate:.1f} in a second"),
        ("Failed", verdict),
        ("Latency", f"{', '.join(milliseconds)} ms"),
        ("Late", f"{result.latest_seconds * 1000:.1f} ms at worst: how far this command itself was behind"),
    ]
    parts = ["", as_pairs(facts)]
    if result.revisions:
        rows = [(name, each.answers, each.sha256[:12]) for name, each in result.revisions.items()]
        parts += ["", as_table(["REVISION", "ANSWERS", "SHA256"], rows)]
    if result.first_failures:
        parts += ["", "First failures:", *map(_failure, result.first_failures[:_MOST_FAILURES])]
    return "\n".join(parts)

"""``mep diff``: what changes when one model takes another's place."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from modelendpoint.commands.tolerance import tolerance_options
from modelendpoint.errors import ExitCode
from modelendpoint.models.agreement import Agreement, Delta, OutputAgreement, compare_answers
from modelendpoint.models.contract import Change, compare_signatures
from modelendpoint.models.opened import OpenModel, open_model, read_rows
from modelendpoint.output import Format, as_table, bad, good, output_option, print_document
from modelendpoint_server.golden import Tolerance

_MOST_REFUSALS = 5


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to ask both models, as CSV or JSON.")
@tolerance_options
@click.option(
    "--max-differing",
    type=click.FloatRange(0, 100),
    default=0.0,
    show_default=True,
    metavar="PERCENT",
    help="Share of the rows that may have another label (or, in a model without labels, other numbers) before the"
    " exit code is 1.",
)
@click.option("--rows", "shown", type=click.IntRange(min=0), default=5, show_default=True, help="Differences to show.")
@output_option
def diff(
    old: str,
    new: str,
    data: Path | None,
    absolute_tolerance: float,
    relative_tolerance: float,
    max_differing: float,
    shown: int,
    output: Format,
) -> None:
    """Compare two models: contract and answers.

    \b
      mep diff v1.onnx v2.onnx --data rows.csv
      mep diff v1.onnx v2.onnx --data rows.csv --max-differing 5 -o json

    The exit code is 1 when applications would have to change, when a row is not answered, or when more rows differ than
    allowed.
    """
    tolerance = Tolerance(absolute_tolerance, relative_tolerance)
    with open_model(old) as one, open_model(new) as other:
        changes = compare_signatures(one.signature, other.signature)
        agreement = _compare(one, other, data, tolerance, shown=shown) if data else None
        is_same = one.artifact.sha256 == other.artifact.sha256
    if output is Format.TEXT:
        click.echo(_as_text(changes, agreement, is_same=is_same))
    else:
        print_document(_as_document(changes, agreement, is_same=is_same), output)
    if _is_bad(changes, agreement, max_differing):
        click.get_current_context().exit(ExitCode.FAILED)


def _compare(one: OpenModel, other: OpenModel, data: Path, tolerance: Tolerance, *, shown: int) -> Agreement:
    calls = read_rows(data, one.signature), read_rows(data, other.signature)
    return compare_answers(one, other, calls, tolerance, shown=shown)


def _is_bad(changes: Sequence[Change], agreement: Agreement | None, max_differing: float) -> bool:
    if any(change.is_breaking for change in changes):
        return True
    if agreement is None:
        return False
    return bool(agreement.refusals) or any(found.differing_percent > max_differing for found in agreement.judged)


def _as_text(changes: Sequence[Change], agreement: Agreement | None, *, is_same: bool) -> str:
    if is_same:
        return good("The two models have the same bytes.")
    parts = [_contract(changes)]
    if agreement is None:
        parts.append("Answers: not compared. Give rows to ask both models: --data rows.csv")
    else:
        parts += [*_refusals(agreement), *map(_output, agreement.outputs)]
    return "\n\n".join(parts)


def _contract(changes: Sequence[Change]) -> str:
    if not changes:
        return f"Contract: {good('the same')}"
    rows = [(change.where, change.what, bad("yes") if change.is_breaking else "no") for change in changes]
    return f"Contract:\n{as_table(['WHERE', 'CHANGE', 'BREAKS APPLICATIONS'], rows, indent='  ')}"


def _refusals(agreement: Agreement) -> list[str]:
    if not agreement.refusals:
        return []
    lines = [f"  {each.model}, row {each.row}: {each.reason}" for each in agreement.refusals[:_MOST_REFUSALS]]
    head = bad(f"{len(agreement.refusals)} of {agreement.rows} rows are not answered")
    return ["\n".join([f"{head}:", *lines])]


def _output(found: OutputAgreement) -> str:
    verb = "flip" if found.is_label else "differ"
    count = f"{found.differing_rows} of {found.rows} rows {verb} ({found.differing_percent:.1f} %)"
    numbers = "" if found.is_label else f"; largest difference {found.largest:.6g}, mean {found.mean:.3g}"
    head = f"Output {found.output}: {(bad if found.differing_rows else good)(count)}{numbers}"
    if not found.deltas:
        return head
    rows = [(delta.row, f"{found.output}{delta.place}", delta.old, delta.new) for delta in found.deltas]
    return f"{head}\n{as_table(['ROW', 'VALUE', 'OLD', 'NEW'], rows, indent='  ')}"


def _as_document(changes: Sequence[Change], agreement: Agreement | None, *, is_same: bool) -> dict[str, Any]:
    return {
        "sameBytes": is_same,
        "contract": [
            {"where": change.where, "what": change.what, "isBreaking": change.is_breaking} for change in changes
        ],
        "answers": None
        if agreement is None
        else {
            "rows": agreement.rows,
            "refusals": [dataclasses.asdict(refusal) for refusal in agreement.refusals],
            "outputs": [_output_document(found) for found in agreement.outputs],
        },
    }


def _output_document(found: OutputAgreement) -> dict[str, Any]:
    return {
        "output": found.output,
        "kind": "label" if found.is_label else "number",
        "rows": found.rows,
        "differingRows": found.differing_rows,
        "differingPercent": round(found.differing_percent, 3),
        "largestDifference": found.largest,
        "meanDifference": found.mean,
        "deltas": [_delta_document(delta) for delta in found.deltas],
    }


def _delta_document(delta: Delta) -> dict[str, Any]:
    return dataclasses.asdict(delta)

"""``mep inspect``: what a model takes, gives and needs."""

from collections.abc import Sequence
from pathlib import Path

import click

from modelendpoint.models import inspection
from modelendpoint.models.inspection import FreeAxis, Inspection, Latency
from modelendpoint.models.opened import open_model, read_rows
from modelendpoint.output import Format, as_pairs, as_table, output_option, print_document
from modelendpoint_server.signature import TensorSpec


@click.command("inspect")
@click.argument("model")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Rows to measure with, as CSV or JSON; without it made-up ones."
)
@output_option
def inspect_model(model: str, data: Path | None, output: Format) -> None:
    """Show what a model takes, gives and needs.

    \b
      mep inspect model.onnx
      mep inspect model.onnx --data rows.csv -o json

    MODEL is an ONNX file, a folder or archive with one, or a URI.
    """
    with open_model(model) as opened:
        rows = read_rows(data, opened.signature) if data else None
        found = inspection.inspect_model(opened, rows)
    if output is Format.TEXT:
        click.echo(_as_text(found))
    else:
        print_document(found.as_document(), output)


def _as_text(found: Inspection) -> str:
    facts: list[tuple[str, object]] = [
        ("Model", found.place),
        ("SHA256", found.sha256),
        ("Size", f"{found.size:,} bytes"),
        ("Opset", found.opset or "unknown"),
        ("Producer", found.producer or "unknown"),
        ("Runtime", f"{found.runtime} with {', '.join(found.providers)}"),
        *(("Latency", _latency(latency)) for latency in found.latencies),
        *([("Latency", f"not measured: {found.refusal} Give it rows with --data.")] if found.refusal else []),
    ]
    tensors = [
        *(_row("input", spec) for spec in found.signature.inputs),
        *(_row("output", spec) for spec in found.signature.outputs),
    ]
    columns = found.signature.columns
    named = [f"Columns: {', '.join(columns)}"] if columns else []
    return "\n\n".join(
        [as_pairs(facts), as_table(["TENSOR", "NAME", "DATATYPE", "SHAPE"], tensors), *named, _axes(found.free_axes)]
    )


def _latency(latency: Latency) -> str:
    rows = "1 row" if latency.rows == 1 else f"{latency.rows} rows"
    return f"{latency.median_milliseconds:.3g} ms for {rows}, p99 {latency.p99_milliseconds:.3g} ms"


def _row(what: str, spec: TensorSpec) -> tuple[str, ...]:
    shape = ", ".join("any" if size is None else str(size) for size in spec.dimensions)
    return what, spec.name, spec.datatype, f"[{shape}]" if spec.kind == "tensor" else spec.kind


def _axes(axes: Sequence[FreeAxis]) -> str:
    """Say what a request may choose; a model that takes one row at a time is mostly one that was exported wrongly."""
    if not any(axis.axis == 0 for axis in axes):
        return (
            "Free axes: not the first, so a request has one row. Export the model with a free first axis to send more."
        )
    named = [f"{axis.tensor}[{axis.axis}]{f' ({axis.name})' if axis.name else ''}" for axis in axes]
    return f"Free axes: {', '.join(named)}"

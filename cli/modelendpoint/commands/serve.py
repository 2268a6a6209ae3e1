"""``mep serve``: one model, one server, in the foreground."""

from collections.abc import Mapping
from typing import Any

import click

from modelendpoint.curl import CurlLine, curl_lines
from modelendpoint.errors import CliError
from modelendpoint.models.opened import to_uri
from modelendpoint.output import as_table, dim, good
from modelendpoint.serving import ModelServer, choose_port, ended_by_signals, name_of


@click.command()
@click.argument("model")
@click.option("--port", type=click.IntRange(1, 65535), help="Port for requests; without it 8080 or the next free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all of them.")
@click.option("--name", help="The model's name in the protocols; without it the file's.")
@click.pass_obj
def serve(environment: Mapping[str, str], model: str, port: int | None, host: str, name: str | None) -> None:
    """Serve one model on this machine.

    \b
      mep serve model.onnx
      mep serve model.onnx --port 9000 --host 0.0.0.0

    MODEL is an ONNX file, a folder or archive with one, or a URI. It is the server that runs on Kubernetes. Ctrl-C
    ends it.
    """
    uri, chosen = to_uri(model), choose_port(host, port)
    try:
        with (
            ended_by_signals(),
            ModelServer(uri, name=name or name_of(model), host=host, port=chosen, environment=environment) as server,
        ):
            report = server.wait_until_ready()
            click.echo(_as_text(model, server.url, report, curl_lines(server.openapi(), server.url)))
            code = server.wait()
    except KeyboardInterrupt:
        click.echo(dim("\nEnded."))
        return
    raise CliError(f"The server ended by itself with code {code}; what it said is above.")


def _as_text(model: str, url: str, report: Mapping[str, Any], lines: list[CurlLine]) -> str:
    signature, seconds = report["signature"], sum(report["timings"].values())
    tensors = [
        (what, tensor["name"], tensor["datatype"], tensor.get("kind") or tensor["shape"])
        for what in ("input", "output")
        for tensor in signature[f"{what}s"]
    ]
    asked = [f"{dim(f'# {line.protocol}')}\n{line.command}" for line in lines]
    return "\n\n".join(
        [
            f"{model} is {good('ready')} at {url} after {seconds:.2f} s; open that in a browser, or send it requests.",
            f"SHA256: {report['model']['sha256']}",
            as_table(["TENSOR", "NAME", "DATATYPE", "SHAPE"], tensors),
            *asked,
            dim("Ctrl-C ends it."),
        ]
    )

"""Exchanges to samples, with the server's own decoders. Knows no connection and no store."""

from collections.abc import Mapping, Sequence

from modelendpoint_server.errors import InvalidFrame
from modelendpoint_server.frames import Exchange, Introduction
from modelendpoint_server.monitor.columns import columns_of_inputs, columns_of_outputs, input_columns
from modelendpoint_server.monitor.sample import Sample
from modelendpoint_server.protocols import Answer, Head, OpenInference, Rows, WireProtocol
from modelendpoint_server.signature import Signature

_PROTOCOLS: Mapping[str, WireProtocol] = {
    **{name: Rows(name) for name in ("rest", "v1", "invocations")},
    "v2": OpenInference("v2", model="", version=""),
}


def decode(exchange: Exchange, server: Introduction) -> Sample:
    """Decode a request that was answered with predictions; raise ``InvalidFrame`` where that can't be done."""
    signature = server.signature
    protocol = _PROTOCOLS.get(exchange.protocol)
    if protocol is None:
        raise InvalidFrame(f"The protocol {exchange.protocol!r} is not known here.")
    try:
        call = protocol.decode(exchange.request, _head(exchange), signature, server.limits)
        rows = signature.count_rows(call.inputs)
        answer = Answer(exchange.answer, exchange.answer_type, exchange.answer_header_length)
        outputs = protocol.decode_answer(answer, call, signature)
        return Sample(
            revision=server.revision,
            variant=server.variant,
            sha256=server.sha256,
            time=exchange.time,
            request_id=exchange.request_id,
            rows=rows,
            inputs=columns_of_inputs(call.inputs, signature, rows),
            outputs=columns_of_outputs(outputs, signature, rows),
        )
    # The bytes were read and written by a server of ours, or by somebody who says so: anything may be in them.
    except Exception as error:
        raise InvalidFrame(f"An exchange can't be read: {type(error).__name__}: {error}") from error


def meant_columns(names: Sequence[str], signature: Signature, columns: Sequence[str]) -> frozenset[str]:
    """Name the columns that are meant by names of columns, of whole inputs, and of outputs that are maps."""
    meant = set(names) & set(columns)
    by_input = input_columns(signature)
    for name in names:
        meant |= set(by_input.get(name, ())) & set(columns)
        if name in _maps(signature):
            meant |= {column for column in columns if column.startswith(f"{name}_")}
    return frozenset(meant)


def known_names(signature: Signature) -> frozenset[str]:
    """Name everything that ``meant_columns`` understands, but the keys of maps."""
    columns = [column for group in input_columns(signature).values() for column in group]
    return frozenset([*columns, *signature.by_name, *signature.output_names])


def _maps(signature: Signature) -> frozenset[str]:
    return frozenset(spec.name for spec in signature.outputs if spec.kind != "tensor")


def _head(exchange: Exchange) -> Head:
    return Head(exchange.content_type, dict(exchange.parameters or {}), header_length=exchange.header_length)

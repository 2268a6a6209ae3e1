"""Which columns of the input feed which input of the model, and which go on to the output. Pure; knows no file format."""

import dataclasses
from collections.abc import Sequence

from modelendpoint_server.batch.errors import InvalidBatch, MissingColumn
from modelendpoint_server.batch.specification import Columns
from modelendpoint_server.formats.table import known_columns, takes_columns
from modelendpoint_server.signature import Signature, TensorSpec


@dataclasses.dataclass(frozen=True)
class Binding:
    """The columns of one input tensor."""

    spec: TensorSpec
    columns: tuple[str, ...]
    is_whole: bool
    """Whether the one column holds a row of the tensor in each cell; else each column holds one value of the row."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """Everything that is read."""

    bindings: tuple[Binding, ...]
    carried: tuple[str, ...]
    """The columns that stand beside the predictions, in this order."""
    partitions: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """All columns that the model gets."""
        return tuple(dict.fromkeys(name for binding in self.bindings for name in binding.columns))

    @property
    def kept(self) -> tuple[str, ...]:
        """All columns that are needed after decoding as they are."""
        return tuple(dict.fromkeys([*self.carried, *self.partitions]))


def select(
    signature: Signature, available: Sequence[str], columns: Columns, *, partitions: Sequence[str], shown: str
) -> Selection:
    """Find all columns; raise ``MissingColumn`` with the first that is not there and what there is."""
    carried = tuple(available) if columns.join else columns.pass_through
    kept = {*columns.pass_through, *partitions}
    bindings = _bind(signature, [name for name in available if name not in kept], columns.features, shown)
    selection = Selection(bindings, carried, tuple(partitions))
    _look_for(selection.features, available, shown, "columns.features")
    _look_for(columns.pass_through, available, shown, "columns.passThrough")
    _look_for(partitions, available, shown, "output.partitioning")
    return selection


def _look_for(names: Sequence[str], available: Sequence[str], shown: str, field: str) -> None:
    for name in names:
        if name not in available:
            raise MissingColumn(
                f"Column {name!r} is not in {shown}, which has {_listed(available)}. Correct {field} or the input."
            )
        if list(available).count(name) > 1:
            raise MissingColumn(f"Column {name!r} is in {shown} twice. Name each column once.")


def _bind(
    signature: Signature, available: Sequence[str], features: tuple[str, ...] | None, shown: str
) -> tuple[Binding, ...]:
    spec = signature.only_input
    if spec is not None and not takes_columns(signature):
        return (_bind_only(spec, signature, available, features, shown),)
    names = _ordered(features, tuple(s.name for s in signature.inputs))
    if len(names) != len(signature.inputs):
        raise InvalidBatch(
            f"columns.features has {len(names)} names, but the model has {len(signature.inputs)} inputs"
            f" ({_listed([s.name for s in signature.inputs])}). Name one column for each."
        )
    return tuple(
        Binding(spec, (name,), is_whole=spec.row_width != 1) for spec, name in zip(signature.inputs, names, strict=True)
    )


def _bind_only(
    spec: TensorSpec, signature: Signature, available: Sequence[str], features: tuple[str, ...] | None, shown: str
) -> Binding:
    known = known_columns(signature)
    if features is None and not known and spec.name in available:
        return Binding(spec, (spec.name,), is_whole=spec.row_width != 1)
    names = _ordered(features, known) if features is not None or known else tuple(available)
    if len(names) == 1 and spec.row_width != 1:
        return Binding(spec, names, is_whole=True)
    if spec.row_width not in (-1, len(names)):
        raise _wrong_width(spec, names, features, shown)
    return Binding(spec, names, is_whole=False)


def _ordered(features: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Take the model's order when the same names were given in another."""
    return known if features is None or set(features) == set(known) else features


def _wrong_width(
    spec: TensorSpec, names: Sequence[str], features: tuple[str, ...] | None, shown: str
) -> InvalidBatch | MissingColumn:
    if features is not None:
        return InvalidBatch(
            f"columns.features has {len(names)} names, but input {spec.name!r} of the model takes {spec.row_width} values"
            " a row. Name all columns that the model takes, in its order."
        )
    return MissingColumn(
        f"Input {spec.name!r} of the model takes {spec.row_width} values a row and does not name them, and {shown} has"
        f" {len(names)} columns for it ({_listed(names)}) and none named {spec.name!r}. Name the columns in"
        " columns.features, in the model's order."
    )


def _listed(names: Sequence[str], *, most: int = 40) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

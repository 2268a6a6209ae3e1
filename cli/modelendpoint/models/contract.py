"""What changes for applications when one model takes another's place: the difference of two signatures. Pure."""

import dataclasses
from collections.abc import Iterator

from modelendpoint_server.signature import Dimension, Signature, TensorSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between two signatures."""

    where: str
    what: str
    is_breaking: bool
    """Whether requests that the old model answered are refused, or their answers are read wrongly."""


def compare_signatures(old: Signature, new: Signature) -> list[Change]:
    """List all differences, the inputs' first."""
    return [*_inputs(old, new), *_columns(old, new), *_outputs(old, new)]


def _inputs(old: Signature, new: Signature) -> Iterator[Change]:
    names = {spec.name: spec for spec in new.inputs}
    for spec in old.inputs:
        where = f"input {spec.name}"
        if spec.name not in names:
            yield Change(where=where, what="is gone", is_breaking=True)
            continue
        yield from _datatype(where, spec, names[spec.name])
        if spec.shape != names[spec.name].shape:
            takes_all = _accepts_all(names[spec.name].dimensions, spec.dimensions)
            yield _shape(where, spec, names[spec.name], is_breaking=not takes_all)
    for name in names.keys() - old.by_name.keys():
        yield Change(where=f"input {name}", what="is new, and every request must have it", is_breaking=True)


def _outputs(old: Signature, new: Signature) -> Iterator[Change]:
    names = {spec.name: spec for spec in new.outputs}
    for spec in old.outputs:
        where = f"output {spec.name}"
        if spec.name not in names:
            yield Change(where=where, what="is gone", is_breaking=True)
            continue
        yield from _datatype(where, spec, names[spec.name])
        if spec.shape != names[spec.name].shape:
            gives_less = _accepts_all(spec.dimensions, names[spec.name].dimensions)
            yield _shape(where, spec, names[spec.name], is_breaking=not gives_less)
    for name in names.keys() - set(old.output_names):
        yield Change(where=f"output {name}", what="is new", is_breaking=False)


def _columns(old: Signature, new: Signature) -> Iterator[Change]:
    if old.columns == new.columns or not old.columns:
        return
    if not new.columns:
        yield Change(where="columns", what="have no names any more, so rows by name are refused", is_breaking=True)
    elif sorted(old.columns) == sorted(new.columns):
        yield Change(where="columns", what="have another order, so rows without names are misread", is_breaking=True)
    else:
        gone = ", ".join(name for name in old.columns if name not in new.columns)
        come = ", ".join(name for name in new.columns if name not in old.columns)
        yield Change(where="columns", what=f"have other names: {gone} → {come}", is_breaking=True)


def _datatype(where: str, old: TensorSpec, new: TensorSpec) -> Iterator[Change]:
    if (old.kind, old.datatype) != (new.kind, new.datatype):
        yield Change(where=where, what=f"{_kind(old)} → {_kind(new)}", is_breaking=True)


def _kind(spec: TensorSpec) -> str:
    return spec.datatype if spec.kind == "tensor" else f"{spec.kind} of {spec.datatype}"


def _shape(where: str, old: TensorSpec, new: TensorSpec, *, is_breaking: bool) -> Change:
    return Change(where=where, what=f"shape {old.shape} → {new.shape} (-1: any size)", is_breaking=is_breaking)


def _accepts_all(wide: tuple[Dimension, ...], narrow: tuple[Dimension, ...]) -> bool:
    """Tell whether every shape of the one is a shape of the other."""
    return len(wide) == len(narrow) and all(
        not isinstance(size, int) or size == other for size, other in zip(wide, narrow, strict=True)
    )

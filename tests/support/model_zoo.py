"""Small ONNX models of every kind that the server must cope with: types, shapes, several tensors, maps, trouble.

Built node by node and byte for byte the same each time. The answers are worked out by whoever asks.
"""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

DATATYPES: dict[str, int] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
Shape = Sequence[int | str | None]
Port = tuple[str, str, Shape]
"""Name, datatype and shape of an input or output."""


def identity(datatype: str, shape: Shape = (None, 3)) -> bytes:
    """Build ``y = x`` for a datatype and a shape."""
    return echo([("x", datatype, shape)])


def echo(ports: Sequence[Port]) -> bytes:
    """Build a model that gives each input back as an output ``<name>_out``; the only input ``x`` as ``y``."""
    names = {name: "y" if name == "x" and len(ports) == 1 else f"{name}_out" for name, _, _ in ports}
    nodes = [helper.make_node("Identity", [name], [out]) for name, out in names.items()]
    return build(nodes, ports, [(names[name], datatype, shape) for name, datatype, shape in ports])


def classifier(*, features: int, zipmap: bool) -> bytes:
    """Build what scikit-learn's converters make: a label and probabilities, as maps if asked for."""
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            coefficients=[*([-0.5] * features), *([0.5] * features)],
            intercepts=[0.0, 0.25],
            classlabels_ints=[0, 1],
            multi_class=1,
            post_transform="SOFTMAX",
        )
    ]
    outputs: list[Port] = [("label", "INT64", (None,))]
    if not zipmap:
        return build(nodes, [("x", "FP32", (None, features))], [*outputs, ("scores", "FP32", (None, 2))])
    nodes.append(
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    )
    maps = helper.make_value_info(
        "probabilities",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        ),
    )
    return build(nodes, [("x", "FP32", (None, features))], outputs, more_outputs=[maps])


def endless() -> bytes:
    """Build a loop that never ends once it is given a positive number of rows."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["state"], ["next"]),
        ],
        "body",
        [_info("turn", "INT64", ()), _info("go", "BOOL", ()), _info("state", "FP32", (None, 1))],
        [_info("go_on", "BOOL", ()), _info("next", "FP32", (None, 1))],
    )
    nodes = [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)]
    yes = numpy_helper.from_array(np.asarray(True), "yes")
    return build(nodes, [("x", "FP32", (None, 1))], [("y", "FP32", (None, 1))], constants=[yes])


def memory_bomb() -> bytes:
    """Build a model whose output has as many values as its input says: a few bytes ask for any amount of memory."""
    nodes = [helper.make_node("ConstantOfShape", ["x"], ["y"])]
    return build(nodes, [("x", "INT64", (1,))], [("y", "FP32", (None,))])


def lookup(values: Sequence[float]) -> bytes:
    """Build ``y = values[x]``; an index beyond the values makes ONNX Runtime fail while it runs."""
    table = numpy_helper.from_array(np.asarray(values, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    return build(nodes, [("x", "INT64", (None,))], [("y", "FP32", (None,))], constants=[table])


def logarithm() -> bytes:
    """Build ``y = log(x)``, which is no number for negative ones and infinite for zero."""
    return build([helper.make_node("Log", ["x"], ["y"])], [("x", "FP32", (None, 2))], [("y", "FP32", (None, 2))])


def with_external_data(location: str, *, rows: int = 3, offset: int = 0) -> bytes:
    """Build ``y = x · w`` whose weights are in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, 1])
    weights.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset), "length": str(rows * 4)}
    for key, value in entries.items():
        weights.external_data.add(key=key, value=value)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return build(nodes, [("x", "FP32", (None, rows))], [("y", "FP32", (None, 1))], constants=[weights])


def build(
    nodes: Sequence[NodeProto],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    *,
    constants: Sequence[TensorProto] = (),
    more_outputs: Sequence[object] = (),
    metadata: dict[str, str] | None = None,
    opset: int = 20,
) -> bytes:
    """Put a model together."""
    graph = helper.make_graph(
        list(nodes),
        "zoo",
        [_info(*port) for port in inputs],
        [*[_info(*port) for port in outputs], *more_outputs],
        initializer=list(constants),
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=10,
        producer_name="modelendpoint-tests",
    )
    if metadata:
        helper.set_model_props(model, metadata)
    return model.SerializeToString(deterministic=True)


def _info(name: str, datatype: str, shape: Shape) -> object:
    return helper.make_tensor_value_info(name, DATATYPES[datatype], list(shape))

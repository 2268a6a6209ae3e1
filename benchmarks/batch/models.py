"""The models of the benchmark: boosted trees on a table's columns, and a small CNN on pictures. The same bytes each time."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FEATURES = tuple(f"f{n}" for n in range(10))
PICTURE = (3, 64, 64)


def trees(*, count: int, depth: int = 5) -> bytes:
    """Build a regression of so many full trees, as gradient boosting makes them."""
    random = np.random.default_rng(2)
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    numbers = np.tile(np.arange(nodes), count)
    is_leaf = numbers >= inner
    tree = np.repeat(np.arange(count), nodes)
    leaves = np.flatnonzero(is_leaf)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_nodeids=numbers.tolist(),
        nodes_treeids=tree.tolist(),
        nodes_featureids=np.where(is_leaf, 0, random.integers(len(FEATURES), size=len(numbers))).tolist(),
        nodes_values=np.where(is_leaf, 0, random.normal(size=len(numbers))).tolist(),
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        nodes_truenodeids=np.where(is_leaf, 0, 2 * numbers + 1).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, 2 * numbers + 2).tolist(),
        target_nodeids=numbers[leaves].tolist(),
        target_treeids=tree[leaves].tolist(),
        target_ids=[0] * len(leaves),
        target_weights=(random.normal(size=len(leaves)) * 0.1).tolist(),
    )
    return _model([node], [], (len(FEATURES),), 1)


def cnn() -> bytes:
    """Build a small CNN on a picture."""
    random = np.random.default_rng(3)
    constants, nodes, last, channels = [], [], "x", PICTURE[0]
    for layer, width in enumerate([16, 32, 64]):
        weights = (random.normal(size=(width, channels, 3, 3)) / np.sqrt(channels * 9)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        last, channels = f"r{layer}", width
    constants.append(numpy_helper.from_array(random.normal(size=(channels, 10)).astype(np.float32), "dense"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["score"]),
    ]
    return _model(nodes, constants, PICTURE, 10)


def _model(nodes: list, constants: list, row: tuple[int, ...], width: int) -> bytes:  # type: ignore[type-arg]
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, *row])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, width])],
        initializer=constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))

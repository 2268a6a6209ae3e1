"""The models that all servers of the benchmark serve: a logistic regression, boosted trees and a small CNN.

Run as a script in the benchmark's own environment: ``python models.py FOLDER`` writes ``lr.onnx``, ``gb.onnx`` and
``cnn.onnx``, each with an input ``x`` and one output ``y``, in the folder layout that every server can use.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FEATURES = 30
IMAGE = (3, 224, 224)


def linear() -> bytes:
    """Build a logistic regression on 30 features: scale, multiply, softmax."""
    random = np.random.default_rng(1)
    constants = [
        numpy_helper.from_array(random.normal(size=FEATURES).astype(np.float32), "mean"),
        numpy_helper.from_array(random.uniform(0.5, 2, FEATURES).astype(np.float32), "scale"),
        numpy_helper.from_array(random.normal(size=(FEATURES, 2)).astype(np.float32), "weights"),
        numpy_helper.from_array(random.normal(size=2).astype(np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=1),
    ]
    return _model(nodes, constants, (FEATURES,), 2)


def trees(*, count: int = 200, depth: int = 4) -> bytes:
    """Build a regression of so many full trees, as gradient boosting makes them."""
    random = np.random.default_rng(2)
    table: dict[str, list[object]] = {key: [] for key in ("id", "tree", "feature", "value", "mode", "yes", "no")}
    leaves: dict[str, list[object]] = {key: [] for key in ("id", "tree", "target", "weight")}
    inner = 2**depth - 1
    for tree in range(count):
        for node in range(2 ** (depth + 1) - 1):
            is_leaf = node >= inner
            row = (
                node,
                tree,
                0 if is_leaf else int(random.integers(FEATURES)),
                0.0 if is_leaf else float(random.normal()),
                "LEAF" if is_leaf else "BRANCH_LEQ",
                0 if is_leaf else 2 * node + 1,
                0 if is_leaf else 2 * node + 2,
            )
            for values, value in zip(table.values(), row, strict=True):
                values.append(value)
            if is_leaf:
                leaf = (node, tree, 0, float(random.normal() * 0.1))
                for values, value in zip(leaves.values(), leaf, strict=True):
                    values.append(value)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_nodeids=table["id"],
        nodes_treeids=table["tree"],
        nodes_featureids=table["feature"],
        nodes_values=table["value"],
        nodes_modes=table["mode"],
        nodes_truenodeids=table["yes"],
        nodes_falsenodeids=table["no"],
        target_nodeids=leaves["id"],
        target_treeids=leaves["tree"],
        target_ids=leaves["target"],
        target_weights=leaves["weight"],
    )
    return _model([node], [], (FEATURES,), 1)


def cnn() -> bytes:
    """Build a small CNN on a 224 x 224 picture, about half a millisecond on one core."""
    random = np.random.default_rng(3)
    constants, nodes, last, channels = [], [], "x", IMAGE[0]
    for layer, (width, stride) in enumerate([(16, 2), (32, 2), (64, 2), (128, 2)]):
        weights = (random.normal(size=(width, channels, 3, 3)) / np.sqrt(channels * 9)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"w{layer}"))
        nodes.append(
            helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], strides=[stride, stride], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        last, channels = f"r{layer}", width
    constants.append(numpy_helper.from_array(random.normal(size=(channels, 10)).astype(np.float32), "dense"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["y"]),
    ]
    return _model(nodes, constants, IMAGE, 10)


def _model(nodes: list, constants: list, row: tuple[int, ...], width: int) -> bytes:  # type: ignore[type-arg]
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, *row])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, width])],
        initializer=constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )
    return model.SerializeToString(deterministic=True)


def main(folder: Path) -> None:
    """Write all models, also in Triton's folder layout."""
    for name, data in (("lr", linear()), ("gb", trees()), ("cnn", cnn())):
        (folder / f"{name}.onnx").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Two classifiers of wines, as ONNX and as scikit-learn itself answers; and the comparison of answers with that.

The data set ships with scikit-learn: 178 wines of three growers, 13 chemical measurements each. Half of the rows are
held out; they are what the demo sends. No cluster and no printing here.
"""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 7
OPSET = {"": 21, "ai.onnx.ml": 3}
MOST_DIFFERENCE = 1e-5
"""scikit-learn computes in 64 bits, the ONNX model in 32; probabilities may differ by this."""


Answers = tuple[Sequence[int], Sequence[Sequence[float]]]
"""Labels and probabilities of all rows."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Rows that no model was trained on."""

    columns: Sequence[str]
    rows: Sequence[Sequence[float]]
    growers: Sequence[int]
    """The right answers."""

    def as_json(self) -> str:
        """Write all rows as a request body."""
        return json.dumps({"instances": [list(row) for row in self.rows]})

    def as_csv(self) -> str:
        """Write all rows as CSV with a header."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return out.getvalue()


@dataclass(frozen=True, kw_only=True)
class Version:
    """A trained model."""

    version: str
    title: str
    onnx: bytes
    labels: Sequence[int]
    """What scikit-learn predicts for the held-out rows."""
    probabilities: Sequence[Sequence[float]]
    """How sure scikit-learn is of each grower."""
    accuracy: float

    @property
    def sha256(self) -> str:
        """The model's identity."""
        return hashlib.sha256(self.onnx).hexdigest()

    @property
    def key(self) -> str:
        """Name the object in the store's bucket."""
        return f"wine/{self.version}/model.onnx"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How answers compare with scikit-learn's own predictions."""

    rows: int
    equal_labels: int
    most_difference: float

    @property
    def is_equal(self) -> bool:
        """Whether every label is the same and every probability is near enough."""
        return self.rows == self.equal_labels and self.most_difference <= MOST_DIFFERENCE


def train() -> tuple[HeldOut, Version, Version]:
    """Train both versions; the same result each time."""
    train_x, train_y, held_out = _split()
    boosting = GradientBoostingClassifier(n_estimators=40, random_state=SEED)
    return (
        held_out,
        _version("1", "gradient boosting", boosting.fit(train_x, train_y), held_out),
        _version("2", "logistic regression", _regression().fit(train_x, train_y), held_out),
    )


def train_with_swapped_columns(version: str, columns: tuple[str, str]) -> Version:
    """Train version 2 once more, on data in which two columns stand in each other's place: a mistake."""
    train_x, train_y, held_out = _split()
    one, other = (held_out.columns.index(name) for name in columns)
    train_x[:, [one, other]] = train_x[:, [other, one]]
    return _version(version, "logistic regression, columns swapped", _regression().fit(train_x, train_y), held_out)


def _split() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], HeldOut]:
    """Return features and growers to train on, and the rows that are held out."""
    data = load_wine()
    features: npt.NDArray[np.float64] = data.data
    train_x, test_x, train_y, test_y = train_test_split(
        features, data.target, test_size=0.5, stratify=data.target, random_state=SEED
    )
    held_out = HeldOut(
        columns=[str(name) for name in data.feature_names],
        rows=[[float(value) for value in row] for row in test_x],
        growers=[int(label) for label in test_y],
    )
    return train_x.astype(np.float32), train_y, held_out


def _regression() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _version(version: str, title: str, model: Any, held_out: HeldOut) -> Version:
    rows = np.asarray(held_out.rows, dtype=np.float32)
    labels = model.predict(rows)
    return Version(
        version=version,
        title=title,
        onnx=_convert(model, rows[:1], held_out.columns),
        labels=[int(label) for label in labels],
        probabilities=[[float(value) for value in row] for row in model.predict_proba(rows)],
        accuracy=float(np.mean(labels == np.asarray(held_out.growers))),
    )


def _convert(model: Any, example: npt.NDArray[np.float32], columns: Sequence[str]) -> bytes:
    """Convert with plain tensors as outputs, and leave the names of the columns in the model's metadata.

    The converter lists its operator sets in the order of a Python set, another one in each process.
    """
    converted = to_onnx(model, example, options={"zipmap": False}, target_opset=OPSET)
    operator_sets = sorted(converted.opset_import, key=lambda each: str(each.domain))
    del converted.opset_import[:]
    converted.opset_import.extend(operator_sets)
    names = converted.metadata_props.add()
    names.key, names.value = "feature_names", json.dumps(list(columns))
    return bytes(converted.SerializeToString(deterministic=True))


def run_onnx(model: bytes, rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Compute every value of each row (label, then probabilities) in this process: the load rig's oracle."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: np.asarray(rows, dtype=np.float32)})
    return [[float(label), *map(float, row)] for label, row in zip(labels, probabilities, strict=True)]


def read_json(body: str) -> Answers:
    """Read labels and probabilities from a JSON answer."""
    predictions = json.loads(body)["predictions"]
    return [row["label"] for row in predictions], [row["probabilities"] for row in predictions]


def read_csv(body: str) -> Answers:
    """Read labels and probabilities from a CSV answer."""
    rows = list(csv.DictReader(io.StringIO(body)))
    return (
        [int(row["label"]) for row in rows],
        [[float(row[name]) for name in row if name.startswith("probabilities")] for row in rows],
    )


def compare(answer: Answers, version: Version) -> Comparison:
    """Compare an answer for all held-out rows with scikit-learn's own. A missing row counts as unequal."""
    labels, probabilities = answer
    expected = np.asarray(version.probabilities)
    given = np.asarray(probabilities)
    same_shape = expected.shape == given.shape
    return Comparison(
        rows=len(version.labels),
        equal_labels=sum(map(int.__eq__, labels, version.labels)),
        most_difference=float(np.max(np.abs(expected - given))) if same_shape else float("inf"),
    )

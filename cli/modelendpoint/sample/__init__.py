"""The folder that ``mep demo`` writes: its files ship in the wheel, as ``hack/sample.py`` has made them.

The endpoint reads its models from ``pvc://models/…``. On a cluster that is a PersistentVolumeClaim; ``mep local up``
takes the folder of that name beside the YAML, so that the same file works in both places. So it is with the rows and the
predictions of the batch prediction, in ``pvc://data/…``.
"""

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from modelendpoint.errors import CliError

DESCRIPTIONS = {
    "models/v1.onnx": "gradient boosting, trained on half of the wines",
    "models/v2.onnx": "logistic regression on the same wines; a little better",
    "models/v3.onnx": "looks like version 2 and is not: it was trained with two columns in each other's place",
    "models/golden.json": "wines whose grower every version must know",
    "rows.csv": "the other half of the wines, one a line",
    "rows.json": "the same rows as the body of a request",
    "data/wines.csv": "the same wines with a number each, to predict for all of them in one go",
    "endpoint.yaml": "the endpoint: version 1, and how it is updated",
    "scores.yaml": "a batch prediction: the endpoint's model, for data/wines.csv",
}
"""All files, and what is to be said of each."""


def write_sample(folder: Path) -> Sequence[Path]:
    """Write all files into a folder that is not there yet, or is empty; return their paths."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError(f"{folder} is there already. Name another folder: mep demo {folder}-2")
    files = resources.files("modelendpoint.sample").joinpath("files")
    try:
        return [_copy(files, name, folder) for name in DESCRIPTIONS]
    except OSError as error:
        raise CliError(f"{folder} can't be written ({error.strerror}). Name another folder: mep demo FOLDER") from error


def _copy(files: Traversable, name: str, folder: Path) -> Path:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(files.joinpath(name).read_bytes())
    return target

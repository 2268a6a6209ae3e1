"""Train the models that ``mep demo`` writes, and put them with their rows into the package ``modelendpoint.sample``.

They are the wines of ``demo.models``, and a third version with a mistake that no signature shows: in its training data
two columns stood in each other's place. ``make sample`` runs this; the files are committed, so that nobody who
installs the wheel needs scikit-learn. The YAML beside them is written by hand.
"""

import json
from pathlib import Path

import numpy as np

from demo.models import HeldOut, Version, train, train_with_swapped_columns

FILES = Path(__file__).resolve().parent.parent / "cli/modelendpoint/sample/files"
SWAPPED = ("flavanoids", "color_intensity")
GOLDEN_EXAMPLES = 20


def build_files() -> dict[str, bytes]:
    """Train, and return the content of each file by its path below ``FILES``."""
    held_out, first, second = train()
    third = train_with_swapped_columns("3", SWAPPED)
    return {
        **{f"models/v{model.version}.onnx": model.onnx for model in (first, second, third)},
        "models/golden.json": _lines_of("examples", golden_examples(held_out, first, second)),
        "rows.csv": held_out.as_csv().encode(),
        "data/wines.csv": _with_numbers(held_out.as_csv()).encode(),
        "rows.json": _lines_of("instances", [_shortest(row) for row in held_out.rows]),
    }


def golden_examples(held_out: HeldOut, first: Version, second: Version) -> list[object]:
    """Choose wines that both versions know, with nothing but the label as the expected output."""
    rows = range(len(held_out.rows))
    known = [row for row in rows if first.labels[row] == second.labels[row] == held_out.growers[row]]
    return [
        {
            "inputs": {"instances": [dict(zip(held_out.columns, _shortest(held_out.rows[row]), strict=True))]},
            "outputs": {"label": [held_out.growers[row]]},
        }
        for row in known[:GOLDEN_EXAMPLES]
    ]


def _with_numbers(text: str) -> str:
    """Give each row a number in front, as rows of a table have one."""
    header, *rows = text.splitlines(keepends=True)
    return "".join([f"id,{header}", *(f"{number},{row}" for number, row in enumerate(rows, 1))])


def _shortest(row: object) -> list[float]:
    return [float(str(value)) for value in np.asarray(row, dtype=np.float32)]


def _lines_of(key: str, items: list[object] | list[list[float]]) -> bytes:
    """Write ``{key: items}`` with one item a line, so that people and Git can read it."""
    text = ",\n".join(json.dumps(item) for item in items)
    return f'{{"{key}": [\n{text}\n]}}\n'.encode()


if __name__ == "__main__":
    for name, content in build_files().items():
        (FILES / name).write_bytes(content)

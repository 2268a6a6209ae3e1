"""Generated input: a table of an id and ten numbers, or pictures. Written in pieces, so that any size fits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from models import FEATURES, PICTURE

PIECE = 200_000
PICTURES = 256


def table(rows: int) -> Iterator[pa.Table]:
    """Yield an id and ten numbers with six digits, as measurements have them."""
    random = np.random.default_rng(1)
    for low in range(0, rows, PIECE):
        count = min(PIECE, rows - low)
        numbers = np.round(random.normal(size=(len(FEATURES), count)), 5)
        yield pa.table({"id": np.arange(low, low + count), **dict(zip(FEATURES, numbers, strict=True))})


def pictures(rows: int) -> Iterator[np.ndarray]:
    """Yield pictures with values of three digits, so many at a time."""
    random = np.random.default_rng(1)
    for low in range(0, rows, PICTURES):
        size = (min(PICTURES, rows - low), *PICTURE)
        yield (random.integers(0, 256, size=size) / 256).round(3).astype(np.float32)


def write_table(path: Path, rows: int) -> None:
    """Write the table in the format that the file's name says."""
    if path.suffix == ".parquet":
        first = next(table(1))
        with pyarrow.parquet.ParquetWriter(path, first.schema, compression="snappy") as writer:
            for piece in table(rows):
                writer.write_table(piece)
        return
    with open(path, "wb") as file:
        for number, piece in enumerate(table(rows)):
            if path.suffix == ".csv":
                options = pyarrow.csv.WriteOptions(include_header=number == 0, quoting_style="none")
                pyarrow.csv.write_csv(piece, file, options)
            else:
                names = piece.column_names
                columns = [column.to_pylist() for column in piece.columns]
                pattern = "{" + ",".join(f'"{name}":%r' for name in names) + "}\n"
                file.write("".join(pattern % row for row in zip(*columns, strict=True)).encode())


def write_pictures(path: Path, rows: int) -> None:
    """Write an id and a picture a row: raw bytes in Parquet, lists of lists in JSON Lines."""
    low = 0
    if path.suffix == ".parquet":
        schema = pa.schema([("id", pa.int64()), ("x", pa.binary())])
        with pyarrow.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
            for piece in pictures(rows):
                cells = [picture.tobytes() for picture in piece]
                writer.write_table(pa.table([np.arange(low, low + len(piece)), cells], schema=schema))
                low += len(piece)
        return
    with open(path, "w") as file:
        for piece in pictures(rows):
            for picture in piece:
                text = str(picture.round(3).astype(float).tolist()).replace(" ", "")
                file.write(f'{{"id":{low},"x":{text}}}\n')
                low += 1

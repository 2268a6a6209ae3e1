"""What one writes without us: pandas reads in chunks, ONNX Runtime predicts, pandas writes. All cores, no checks.

``python plain.py MODEL INPUT OUTPUT THREADS``
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.parquet

CHUNK = 100_000


def main(model: str, source: Path, target: Path, threads: int) -> None:
    """Predict a whole file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options)
    port = session.get_inputs()[0]
    first = True
    writer = None
    for frame in chunks(source, wide=len(port.shape) > 2):
        scores = session.run(None, {port.name: features(frame, port.shape[1:])})[0]
        columns = {"score": scores[:, 0]} if scores.shape[1] == 1 else {f"score_{n}": scores[:, n] for n in range(10)}
        result = pd.DataFrame({"id": frame["id"], **columns})
        if target.suffix == ".csv":
            result.to_csv(target, mode="w" if first else "a", header=first, index=False)
        elif target.suffix == ".jsonl":
            result.to_json(target, mode="w" if first else "a", orient="records", lines=True)
        else:
            table = pyarrow.Table.from_pandas(result)
            writer = writer or pyarrow.parquet.ParquetWriter(target, table.schema)
            writer.write_table(table)
        first = False
    if writer is not None:
        writer.close()


def chunks(source: Path, *, wide: bool) -> Iterator[pd.DataFrame]:
    """Read a file in pieces that fit into memory."""
    rows = 256 if wide else CHUNK
    if source.suffix == ".csv":
        yield from pd.read_csv(source, chunksize=rows)
    elif source.suffix == ".jsonl":
        yield from pd.read_json(source, lines=True, chunksize=rows)
    else:
        for batch in pyarrow.parquet.ParquetFile(source).iter_batches(rows):
            yield batch.to_pandas()


def features(frame: pd.DataFrame, row: list[int]) -> np.ndarray:
    """Make the model's input."""
    if len(row) == 1:
        return frame.drop(columns="id").to_numpy(np.float32)
    cells = frame["x"].tolist()
    if isinstance(cells[0], bytes):
        return np.frombuffer(b"".join(cells), np.float32).reshape(-1, *row)
    return np.array(cells, np.float32)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))

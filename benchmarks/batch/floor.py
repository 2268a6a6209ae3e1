"""The floor: ONNX Runtime on arrays that are in memory already; nothing is read, checked or written.

``python floor.py MODEL THREADS SECONDS`` prints rows per second and rows per CPU second; so many threads run
the model side by side.
"""

import sys
import threading
import time

import numpy as np
import onnxruntime
from models import FEATURES, PICTURE


def main(model: str, threads: int, seconds: float) -> None:
    """Measure."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    is_table = len(session.get_inputs()[0].shape) == 2
    shape = (4096, len(FEATURES)) if is_table else (10, *PICTURE)
    rows = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    session.run(None, {"x": rows})
    runs = [0] * threads
    begin, cpu = time.perf_counter(), time.process_time()

    def work(number: int) -> None:
        while time.perf_counter() - begin < seconds:
            session.run(None, {"x": rows})
            runs[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done = sum(runs) * len(rows)
    print(done / (time.perf_counter() - begin), done / (time.process_time() - cpu))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))

"""PyTriton: Triton's own HTTP front end before a Python function, without batch delay."""

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
row = tuple(size for size in session.get_inputs()[0].shape if isinstance(size, int))
width = session.get_outputs()[0].shape[-1]


@batch
def infer(x):
    return session.run(None, {"x": x})


if __name__ == "__main__":
    port = int(sys.argv[2])
    config = TritonConfig(
        http_port=port, grpc_port=port + 1, metrics_port=port + 2, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=row)],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(width,))],
            config=ModelConfig(max_batch_size=256),
        )
        triton.serve()

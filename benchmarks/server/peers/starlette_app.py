"""Starlette written by hand for speed: orjson both ways, raw bytes where they are sent."""

import os

import numpy as np
import onnxruntime
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)
row = [size for size in session.get_inputs()[0].shape if isinstance(size, int)]


async def predict(request: Request) -> Response:
    body = await request.body()
    if request.headers.get("content-type") == "application/octet-stream":
        x = np.frombuffer(body, dtype=np.float32).reshape([-1, *row])
    else:
        x = np.asarray(orjson.loads(body)["instances"], dtype=np.float32)
    y = session.run(None, {"x": x})[0]
    return Response(orjson.dumps({"predictions": y}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


async def health(request: Request) -> Response:
    return Response(b"ok")


app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/", health)])

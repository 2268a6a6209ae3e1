"""Flask as most people write it, for gunicorn."""

import os

import numpy as np
import onnxruntime
from flask import Flask, jsonify, request

app = Flask(__name__)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)


@app.post("/predict")
def predict():
    x = np.asarray(request.get_json()["instances"], dtype=np.float32)
    return jsonify(predictions=session.run(None, {"x": x})[0].tolist())


@app.get("/")
def health():
    return "ok"

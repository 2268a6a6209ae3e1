"""KServe's Python server: a custom model, as its documentation shows; it speaks V1 and V2."""

import sys

import kserve
import numpy as np
import onnxruntime


class OnnxModel(kserve.Model):
    """Answers V1 with lists and V2 with tensors."""

    def __init__(self, path: str) -> None:
        super().__init__("bench")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            x = np.asarray(payload["instances"], dtype=np.float32)
            return {"predictions": self.session.run(None, {"x": x})[0].tolist()}
        (y,) = self.session.run(None, {"x": payload.inputs[0].as_numpy().astype(np.float32)})
        output = kserve.InferOutput(name="y", shape=list(y.shape), datatype="FP32")
        output.set_data_from_numpy(y, binary_data=False)
        return kserve.InferResponse(response_id=payload.id or "1", model_name="bench", infer_outputs=[output])


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[2]), workers=1, enable_grpc=False, access_log_format=None)
    server.start([OnnxModel(sys.argv[1])])

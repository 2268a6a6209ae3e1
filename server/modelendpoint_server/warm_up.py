"""Made-up inputs that fit a signature, for the first run of a model and for the example on the page."""

import numpy as np

from modelendpoint_server.signature import Signature, Tensor, TensorSpec

_FREE_SIZE = 1
"""Size that free dimensions get."""


def made_up_inputs(signature: Signature) -> dict[str, Tensor]:
    """Make one row of zeros, false or empty strings for each input."""
    return {spec.name: _made_up(spec) for spec in signature.inputs}


def _made_up(spec: TensorSpec) -> Tensor:
    shape = [_FREE_SIZE if size == -1 else size for size in spec.shape]
    return np.full(shape, "", dtype=object) if spec.datatype == "BYTES" else np.zeros(shape, dtype=spec.dtype)

"""bfloat16, which NumPy does not have: as the 16 upper bits of a float32."""

import numpy as np

from modelendpoint_server.signature import Tensor


def to_bfloat16(tensor: Tensor) -> Tensor:
    """Round float32 values to bfloat16 (to nearest, ties to even) and return the bits as uint16."""
    bits = np.ascontiguousarray(tensor, dtype=np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(tensor), np.uint16(0x7FC0), rounded)


def from_bfloat16(bits: Tensor) -> Tensor:
    """Widen bfloat16 bits to float32; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)

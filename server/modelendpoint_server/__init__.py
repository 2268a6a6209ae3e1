"""The model server: one image that serves any ONNX model, loaded by URI.

A request's way in, and the answer's way out::

    bytes ─► routes ─► formats.decode ─► inference ─► model (ONNX Runtime)
    bytes ◄─ routes ◄─ formats.encode ◄─────┘

Beside it, one thread (``lifecycle``) gets the model: artifact ─► model ─► warm-up ─► ready. The process outlives every
failure there; the management port says what is wrong.
"""

__version__ = "0.1.0"

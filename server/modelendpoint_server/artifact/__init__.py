"""Getting a model's bytes: a URI in, a verified folder on disk out. No ONNX Runtime, no HTTP server.

::

    uri ─► source (object store · web · hub · registry · local) ─► download ─► unpack ─► inspect ─► sha256/<digest>/
"""

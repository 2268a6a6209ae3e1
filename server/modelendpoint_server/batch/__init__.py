"""Batch prediction: one run of a BatchPrediction, worked by several pods of this image.

::

    plan     input ─► listing ─► schema against the model's signature ─► splitting ─► plan.json
    work     shard ─► reading ─► decoding ─► scoring ─► writing ─► commit      (each index its shards)
    finish   all records ─► _MANIFEST.json, last and at once

Nothing here is imported by the server: pyarrow is large, and only batch pods need it. The model is loaded and run by the
same code as in the server.
"""

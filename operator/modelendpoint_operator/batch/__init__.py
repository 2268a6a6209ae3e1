"""Decisions about BatchPredictions: from what was seen of one to what shall be written.

Everything here is pure: ``now`` is an argument. Reading and writing is the work of ``adapters/batches.py``.
"""

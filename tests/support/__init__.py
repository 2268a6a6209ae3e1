"""What several test folders need: the load rig, tiny models, a model store, clusters. Nothing here is a test.

Importable as ``support`` (``tests/`` is on the path), by ``hack/demo.py`` too.
"""

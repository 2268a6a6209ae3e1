"""What the API server would say about YAML files, without one.

::

    documents   files → values, with the line of each
    structure   a value against a CRD's schema: types, limits, unknown fields, defaults
    rules       the CEL rules in the schema
    metadata    what the API server asks of every object
    lint        all of it, for one document

The schema is the CRD that this version of the operator brings; nothing about single fields is said here.
"""

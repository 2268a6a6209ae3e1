"""Where kopf calls us: a watch event becomes a key in the work queue, and that is all.

Only low-level handlers (``on.event``) are used: they put no finalizer and no annotation on anybody's object, and the
same call follows whatever happened. Reading, deciding and writing must not be here.
"""

"""``make demo``: a cluster, the operator, two real models, an update under load and the way back.

``models`` trains and knows what is right, ``terminal`` prints and runs commands, ``story`` has the steps in order.
Anything that a user could not type belongs to ``story`` and is said there in words.
"""

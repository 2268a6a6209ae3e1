"""What can be learnt from models on this machine: they are loaded and asked by the server's own code.

So an answer here is the server's answer, and a model that is refused here is refused there for the same reason.
"""

"""The rollout machine: which revision serves, which one is on its way, and who gets how much traffic.

Pure: every function takes what was seen and the time, and returns what shall be. Manifests must not be here.
"""

"""The parts of a decision: what shall be (the outline), and what follows from it besides objects.

Pure, as the planner, whose parts they are. What an object looks like must not be here (``manifests``), nor how a rollout goes on
(``rollout``).
"""

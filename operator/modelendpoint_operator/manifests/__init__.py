"""Kubernetes objects and Envoy documents as plain dicts, built from the API and nothing else.

Every function here is pure: same arguments, same dict. Deciding what shall run or which weights hold, and
reading or writing the cluster, must not be here.
"""

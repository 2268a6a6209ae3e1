"""The API as pydantic models: what users write, what the operator answers, and the CRD generated from both.

Static defaults and every field's description live here and nowhere else. No logic beyond small derived properties.
"""

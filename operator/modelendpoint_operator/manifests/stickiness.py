"""Stickiness: what of a request decides which revision it goes to, in the words of Envoy's routes.

Weights must not be here. Envoy hashes the value, and takes the first share that the hash falls into: the share whose
weight grows has to come first, so that it only gains callers.
"""

from modelendpoint_operator.api.routing import Stickiness
from modelendpoint_operator.manifests.xds import Document


def build_stickiness(sticky_by: Stickiness | None) -> Document:
    """Build what a route says beside its weighted clusters; nothing where requests are shared out by chance."""
    return {} if sticky_by is None else {"hash_policy": [_hashed(sticky_by)]}


def _hashed(sticky_by: Stickiness) -> Document:
    if sticky_by.header is not None:
        return {"header": {"header_name": sticky_by.header}}
    # Without a time to live Envoy only reads the cookie, and never sets one.
    return {"cookie": {"name": sticky_by.cookie}}

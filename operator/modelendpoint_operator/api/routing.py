"""Parts of ``spec.routing``: who may call an endpoint, and which requests belong together.

How the router does it stands in ``manifests/stickiness.py`` and ``manifests/access.py``. The rules that hold these
parts together are CEL in ``api/rules.py``.
"""

from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$", min_length=1, max_length=64)]
"""Without underscores: the router refuses requests with headers that have one."""
CookieName = Annotated[str, Field(pattern=r"^[-A-Za-z0-9_.]+$", min_length=1, max_length=64)]


class Stickiness(ApiModel):
    """What requests have in common that go to the same revision. Either header or cookie."""

    header: HeaderName | None = None
    """Requests with the same value of this header go to the same revision, as long as the weights stay: with
    x-customer-id a customer sees the stable model or the candidate, and not both in turn. A raised weight takes
    customers along and sends none back. Requests without the header are shared out by chance."""
    cookie: CookieName | None = None
    """The same with the value of a cookie, which your application sets; the router sets none."""

"""Parts of ``spec.routing``: who may call an endpoint and how, and which requests belong together.

How the router does it stands in modules of ``manifests`` that are called like the parts. The rules that hold these parts
together are CEL in ``api/rules.py``.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.references import ConfigMapReference, SecretReference

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


Origin = Annotated[str, Field(pattern=r"^[!-~]+$", min_length=1, max_length=253)]
HeaderNames = Annotated[list[HeaderName], Field(min_length=1, max_length=32)]


class Cors(ApiModel):
    """Which web pages may call the endpoint from a browser. It keeps nobody else out: for that there is auth."""

    allow_origins: Annotated[list[Origin], Field(min_length=1, max_length=32)]
    """Where the pages come from: origins such as https://app.example.com or http://localhost:3000;
    https://*.example.com for all its subdomains; * for every page."""
    allow_headers: HeaderNames | None = None
    """More headers that a page may send, beside content-type, x-request-id and those that this spec itself names, such
    as the one with the API key."""
    expose_headers: HeaderNames | None = None
    """More headers of an answer that a page may read, beside x-request-id, retry-after and those that say which model
    answered."""
    allow_credentials: Annotated[bool, Field(strict=True)] = False
    """Let browsers send cookies along, such as that of stickyBy. Only for origins that are named."""
    max_age_seconds: Annotated[int, Field(ge=0, le=86400, strict=True)] = 600
    """Seconds for which a browser need not ask again whether it may call."""


class NoAuth(ApiModel):
    """Nobody is asked who he is. It has no fields."""


class ApiKeys(ApiModel):
    """Callers show a key, of which the router knows the sha256."""

    secret_ref: SecretReference
    """Secret whose key "keys" has a line for each API key: the sha256 of the key in hex, the name of the client and,
    if it ends, when (2027-01-31T00:00:00Z). Routers take up a change while they run. Without the Secret every
    request is refused. Whoever names it here must be allowed to get it."""
    header: HeaderName = "x-api-key"
    """Header with the key. With authorization the key follows the word Bearer."""


class Jwt(ApiModel):
    """Callers show a JSON Web Token in the header authorization, after the word Bearer. It must have an end."""

    issuer: Annotated[str, Field(pattern=r"^[!-~]+$", min_length=1, max_length=253)]
    """The claim iss that a token must have."""
    audiences: Annotated[
        list[Annotated[str, Field(pattern=r"^[!-~]+$", min_length=1, max_length=253)]],
        Field(min_length=1, max_length=16),
    ]
    """A token must be for one of these: its claim aud."""
    jwks_config_map_ref: ConfigMapReference | None = None
    """ConfigMap whose key "jwks.json" is the issuer's JSON Web Key Set. Either this or jwksSecretRef. Routers take up
    a change while they run. Without it every request is refused."""
    jwks_secret_ref: SecretReference | None = None
    """Secret with the same key. Whoever names it here must be allowed to get it."""


class Auth(ApiModel):
    """Who may call the endpoint: exactly one of none, apiKeys and jwt."""

    none: NoAuth | None = None
    """Everybody who reaches the router."""
    api_keys: ApiKeys | None = None
    """Whoever has a key."""
    jwt: Jwt | None = None
    """Whoever has a token of an issuer."""


class LimitedBy(StrEnum):
    """Whose requests are counted together."""

    CLIENT = "Client"
    HEADER = "Header"
    ADDRESS = "Address"


class RateLimit(ApiModel):
    """How many requests are taken in a time; what comes beyond is answered 429 with Retry-After."""

    requests: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    """Requests in perSeconds: as many at once from a caller that was silent, and as many on average. Each router pod
    grants its share of them by itself, so a caller that keeps to one connection has the share of one router."""
    per_seconds: Annotated[int, Field(ge=1, le=3600, strict=True)] = 1
    """Seconds in which that many requests are taken."""
    by: LimitedBy | None = None
    """Whose requests are counted together. Client: those of one API key's client, or one subject (sub) of tokens.
    Header: those with the same value of header. Address: those that come from one address. Without it all are counted
    together, as are those that have no such header or subject."""
    header: HeaderName | None = None
    """Header whose value says whose request it is, for by: Header. Whoever sends another value each time has no limit,
    so it should be one that callers can't choose."""


class Tls(ApiModel):
    """HTTPS on the router."""

    secret_ref: SecretReference
    """Secret of type kubernetes.io/tls, with the certificate's chain in tls.crt and its key in tls.key. Routers take up a
    change while they run. Without the Secret no new router pod gets ready, and those that are go on as they did. Whoever
    names it here must be allowed to get it."""
    allow_http: Annotated[bool, Field(strict=True)] = False
    """Answer plain HTTP too, on port 80, such as while clients move to HTTPS. Otherwise it is refused with 403."""

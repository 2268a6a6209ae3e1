"""Parts of ``spec.routing``: how an endpoint is reached from outside the cluster."""

from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]
Hostname = Annotated[
    str,
    Field(
        pattern=r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        min_length=1,
        max_length=253,
    ),
]
"""Lower-case; the first label may be ``*``."""


class ParentReference(ApiModel):
    """A Gateway, or one of its listeners."""

    name: Name
    """Name of the Gateway."""
    namespace: Name | None = None
    """Namespace of the Gateway, whose listeners must allow routes from the endpoint's. Without it the endpoint's own."""
    section_name: Name | None = None
    """Name of one listener of the Gateway. Without it all that fit."""
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] | None = None
    """Port of the listeners. Without it all that fit."""


class Gateway(ApiModel):
    """An HTTPRoute of the Gateway API that leads to the endpoint."""

    parent_refs: Annotated[list[ParentReference], Field(min_length=1, max_length=8)]
    """Gateways that take requests for the endpoint. Whoever names them here must be allowed to create HTTPRoutes."""
    hostnames: Annotated[list[Hostname], Field(min_length=1, max_length=16)] | None = None
    """Hosts whose requests are the endpoint's. Without them those of the Gateway's listeners."""


class TlsSecret(ApiModel):
    """A Secret with tls.crt and tls.key in the endpoint's own namespace."""

    name: Name
    """Name of the Secret."""


class Ingress(ApiModel):
    """An Ingress that leads to the endpoint."""

    hostnames: Annotated[list[Hostname], Field(min_length=1, max_length=16)]
    """Hosts whose requests are the endpoint's. Whoever names them here must be allowed to create Ingresses."""
    class_name: Name | None = None
    """IngressClass. Without it the cluster's default."""
    tls_secret_ref: TlsSecret | None = None
    """Secret with the certificate of the hosts. Without it the controller decides about TLS."""
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] | None = None
    """Annotations of the Ingress, in which controllers and cert-manager look for settings."""

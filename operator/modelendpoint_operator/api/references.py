"""References from an endpoint to objects of its own namespace; none can name another namespace."""

from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]


class SecretReference(ApiModel):
    """A Secret in the endpoint's own namespace."""

    name: ObjectName
    """Name of the Secret."""


class ConfigMapReference(ApiModel):
    """A ConfigMap in the endpoint's own namespace."""

    name: ObjectName
    """Name of the ConfigMap."""

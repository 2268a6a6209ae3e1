"""Settings of one installation of the operator, from environment variables that the Helm chart sets.

What belongs to one endpoint stands in its spec; what never changes in ``names.py``.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from modelendpoint_operator.names import CLUSTER_DOMAIN

PREFIX = "MODELENDPOINT_OPERATOR_"


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


HostPattern = Annotated[str, Field(pattern=r"^([*]\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?$")]
"""host, host:port or *.domain."""


class SettingsError(ValueError):
    """The environment holds something that the operator can't run with."""


class Settings(BaseModel):
    """Everything that differs between installations. The environment variable of a field is
    ``MODELENDPOINT_OPERATOR_`` and the field's name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    watch_namespaces: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """Namespaces to work in, separated by commas; empty means the whole cluster."""
    server_image: str = "ghcr.io/modelendpoint/server:0.1.0"
    """Image of the model server."""
    router_image: str = "ghcr.io/modelendpoint/router:0.1.0"
    """Image of the router (Envoy)."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of both images."""
    drain_seconds: Annotated[int, Field(ge=0, le=300)] = 15
    """Seconds that a pod goes on serving after it was told to end, so that everybody stops sending first."""
    progress_deadline_seconds: Annotated[int, Field(ge=10)] = 600
    """Seconds after which a candidate whose pods do not get ready is reported as stalled."""
    resync_seconds: Annotated[int, Field(ge=5)] = 60
    """Seconds between two passes over every endpoint, for what no event told of."""
    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """Endpoints that are worked on at the same time."""
    lease_namespace: str = "default"
    """Namespace of the Lease by which one of several operator pods is the active one."""
    lease_name: str = "modelendpoint-operator"
    """Name of that Lease."""
    cluster_domain: str = CLUSTER_DOMAIN
    """DNS domain of the cluster."""
    prometheus_address: Annotated[str, Field(pattern=r"^(https?://[!-~]+)?$")] = ""
    """Where gates ask Prometheus when they name no address; $(NAMESPACE) in it is the endpoint's namespace."""
    gate_allowed_hosts: Annotated[tuple[HostPattern, ...], BeforeValidator(_split)] = ()
    """Hosts outside an endpoint's namespace that its gates may ask, separated by commas: host, host:port or *.domain."""
    identity: str = "modelendpoint-operator"
    """Name of this pod, as holder of the Lease and reporter of Events."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines that are written."""
    log_format: Literal["json", "text"] = "json"
    """Form of the log lines."""

    @property
    def drain(self) -> timedelta:
        """Time between the router's word that a revision has no traffic and the end of its pods."""
        return timedelta(seconds=self.drain_seconds)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings; raises ``SettingsError`` that names the variable and what it may be."""
        given = {
            name.removeprefix(PREFIX).lower(): text for name, text in environment.items() if name.startswith(PREFIX)
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(part) for part in error.errors())) from error


def _sentence(error: object) -> str:
    location, kind, message = error["loc"], error["type"], error["msg"]  # type: ignore[index]
    name = PREFIX + "_".join(str(part) for part in location).upper()
    if kind == "extra_forbidden":
        return f"{name} is not a setting of this operator; remove it or correct its name"
    return f"{name}: {message}"

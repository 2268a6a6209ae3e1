"""Secrets and ConfigMaps of users that router pods mount: API keys, key sets, certificates.

All are optional: without one a pod starts all the same, refuses what it would be needed for, and says so. Nobody but
the pods reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.spec import Routing


@dataclass(frozen=True, kw_only=True)
class Mount:
    """Some keys of one object, as files of a folder."""

    name: str
    """Name of the volume."""
    kind: str
    object_name: str
    keys: tuple[str, ...]
    folder: str
    field: str
    """Where the spec names the object."""

    @property
    def file(self) -> str:
        """Path of the first file."""
        return f"{self.folder}/{self.keys[0]}"

    def volume(self) -> dict[str, Any]:
        """Build the pod's volume."""
        source: Mapping[str, Any] = {"items": [{"key": key, "path": key} for key in self.keys], "optional": True}
        if self.kind == "Secret":
            return {"name": self.name, "secret": {"secretName": self.object_name, **source}}
        return {"name": self.name, "configMap": {"name": self.object_name, **source}}

    def volume_mount(self) -> dict[str, Any]:
        """Build the container's mount."""
        return {"name": self.name, "mountPath": self.folder, "readOnly": True}


def router_mounts(routing: Routing) -> tuple[Mount, ...]:
    """Name what the router pods of an endpoint mount besides their configuration."""
    auth = routing.auth
    mounts = []
    if auth is not None and auth.api_keys is not None:
        mounts.append(
            Mount(
                name="keys",
                kind="Secret",
                object_name=auth.api_keys.secret_ref.name,
                keys=(names.KEYS_KEY,),
                folder=names.KEYS_DIR,
                field="spec.routing.auth.apiKeys.secretRef",
            )
        )
    if auth is not None and auth.jwt is not None:
        secret, config_map = auth.jwt.jwks_secret_ref, auth.jwt.jwks_config_map_ref
        reference = secret or config_map
        assert reference is not None
        mounts.append(
            Mount(
                name="jwks",
                kind="Secret" if secret else "ConfigMap",
                object_name=reference.name,
                keys=(names.JWKS_KEY,),
                folder=names.JWKS_DIR,
                field=f"spec.routing.auth.jwt.{'jwksSecretRef' if secret else 'jwksConfigMapRef'}",
            )
        )
    if routing.tls is not None:
        mounts.append(
            Mount(
                name="tls",
                kind="Secret",
                object_name=routing.tls.secret_ref.name,
                keys=(names.TLS_CERTIFICATE_KEY, names.TLS_PRIVATE_KEY),
                folder=names.TLS_DIR,
                field="spec.routing.tls.secretRef",
            )
        )
    return tuple(mounts)


def listeners_file(routing: Routing) -> str:
    """Name the file with the listeners, by what they need mounted.

    A router pod reads the one of its own time. So pods that lack a Secret serve on as they did until others, which have
    it, are ready: neither do they refuse everybody, nor does a pod that shall ask for keys ever serve without asking.
    """
    return (
        "-".join([names.LISTENERS_FILE.removesuffix(".json"), *(mount.name for mount in router_mounts(routing))])
        + ".json"
    )

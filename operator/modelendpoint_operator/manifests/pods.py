"""What the pods that load a model have in common: security, volumes, compute resources. Whose pods must not be here."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.resources import Resources

USER = 65532
MODEL_VOLUME_LIMIT = "20Gi"

Volume = dict[str, Any]
"""A volume's name, its source and its mount."""

POD_SECURITY: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def build_pod_spec(container: Mapping[str, Any], volumes: Sequence[Volume]) -> dict[str, Any]:
    """Build a pod's spec around its container; the volumes are mounted in it."""
    return {
        "containers": [
            {
                **container,
                "securityContext": dict(CONTAINER_SECURITY),
                "volumeMounts": [volume["mount"] for volume in volumes],
            }
        ],
        "volumes": [{"name": volume["name"], **volume["source"]} for volume in volumes],
        "securityContext": dict(POD_SECURITY),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }


def build_resources(resources: Resources) -> dict[str, Any]:
    """Write compute resources as Kubernetes does; what the author left out stays out."""
    amounts = {"requests": resources.requests, "limits": resources.limits}
    return {kind: amount.model_dump(exclude_none=True) for kind, amount in amounts.items() if amount is not None}


def model_volume() -> Volume:
    """Build the volume for the model's files, the only writable place of the pod."""
    return build_volume("models", names.MODEL_DIR, {"emptyDir": {"sizeLimit": MODEL_VOLUME_LIMIT}}, read_only=False)


def credentials_volume(name: str, secret: str, *, path: str) -> Volume:
    """Mount a Secret as files.

    Optional: a pod whose Secret is missing starts all the same, and then it can say what is missing, where a pod that
    waits for its volume says nothing that a user would find.
    """
    return build_volume(name, path, {"secret": {"secretName": secret, "optional": True}})


def volume_of(name: str, uri: str, *, read_only: bool = True) -> Volume | None:
    """Mount what a ``pvc://`` or ``configmap://`` URI points into; None for all others."""
    scheme, _, rest = uri.partition("://")
    holder = rest.partition("/")[0]
    if scheme == "pvc":
        claim = {"claimName": holder, **({"readOnly": True} if read_only else {})}
        return build_volume(name, f"{names.PVC_DIR}/{holder}", {"persistentVolumeClaim": claim}, read_only=read_only)
    if scheme == "configmap":
        return build_volume(name, f"{names.CONFIGMAP_DIR}/{holder}", {"configMap": {"name": holder, "optional": True}})
    return None


def build_volume(name: str, path: str, source: dict[str, Any], *, read_only: bool = True) -> Volume:
    """Build a volume and its mount."""
    mount = {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
    return {"name": name, "source": source, "mount": mount}

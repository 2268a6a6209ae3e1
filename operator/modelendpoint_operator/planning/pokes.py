"""Annotations that make kubelets look at once at files that pods mount: left alone they take up to a minute."""

from datetime import timedelta

from modelendpoint_operator import monitoring, names
from modelendpoint_operator.manifests.envoy import config_version
from modelendpoint_operator.manifests.monitor import monitoring_version
from modelendpoint_operator.plan import Poke
from modelendpoint_operator.planning.outline import Outline

POKE_AGAIN = timedelta(seconds=3)
"""A kubelet may see the poke before it sees the new ConfigMap; then it needs another one."""

POKE_FOR_MODEL = timedelta(seconds=15)

MAY_BE_MOUNTED_LATER = ("ModelNotFound", "ModelForbidden", "DigestMismatch")
"""Reasons of a server that a changed ConfigMap or Secret may take away."""


def make_pokes(outline: Outline) -> tuple[Poke, ...]:
    """Choose the pods whose files are to be looked at again."""
    version = monitoring_version(outline.monitoring)
    return (
        *_pokes_for_config(outline),
        *_pokes_for_secrets(outline),
        *_pokes_for_models(outline),
        *monitoring.pokes_for_monitoring(outline.seen, version, now=outline.situation.now),
    )


def _pokes_for_config(outline: Outline) -> list[Poke]:
    """Poke the router pods that do not use the written configuration yet, again and again until they do."""
    config = outline.config
    turn = int(outline.situation.now.timestamp() / POKE_AGAIN.total_seconds())
    value = f"{config_version(outline.documents)}-{turn}"
    return [
        Poke(pod=router.name, annotation=names.ANNOTATION_ROUTER_CONFIG, value=value)
        for router in outline.seen.routers
        if not config.is_used_by(router) and not router.terminating and router.config != value
    ]


def _pokes_for_secrets(outline: Outline) -> list[Poke]:
    """Poke the router pods that lack a Secret which they use: it may be there by now."""
    value = f"mounts-{int(outline.situation.now.timestamp() / POKE_FOR_MODEL.total_seconds())}"
    return [
        Poke(pod=router.name, annotation=names.ANNOTATION_ROUTER_CONFIG, value=value)
        for router in outline.seen.routers
        if router.troubles and outline.config.is_used_by(router) and not router.terminating and router.config != value
    ]


def _pokes_for_models(outline: Outline) -> list[Poke]:
    """Poke the server pods that lack a model: it, or the Secret for its store, may be there by now.

    A kubelet by itself looks at most once a minute for what was missing when it mounted it.
    """
    value = str(int(outline.situation.now.timestamp() / POKE_FOR_MODEL.total_seconds()))
    return [
        Poke(pod=pod.name, annotation=names.ANNOTATION_MODEL_WANTED, value=value)
        for pod in outline.seen.pods
        if pod.report and pod.report.reason in MAY_BE_MOUNTED_LATER and not pod.terminating and pod.poked != value
    ]

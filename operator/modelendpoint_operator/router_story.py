"""What keeps router pods from doing as the spec says: objects of users that they lack, configuration not taken up.

Pure, as conditions are. Whatever is told here, traffic goes on: Envoy keeps its last good configuration, and the
operator takes nothing away before every router uses routes without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.mounts import Mount, listeners_file, router_mounts
from modelendpoint_operator.manifests.xds import Document, content_hash
from modelendpoint_operator.observation import Observation, RouterSeen

OUT_OF_SYNC = "RouterOutOfSync"
ACCESS_NOT_READY = "AccessNotReady"
CERTIFICATE_NOT_READY = "CertificateNotReady"

TAKE_UP = timedelta(seconds=15)
"""Routers use a new configuration after one second, mostly; with a busy kubelet after a few."""


@dataclass(frozen=True, kw_only=True)
class RouterConfig:
    """The configuration that router pods shall use, by the versions that Envoy reports."""

    bootstrap: str
    listeners: str
    clusters: str
    routes: str

    @classmethod
    def of(cls, endpoint: ModelEndpoint, documents: Mapping[str, Document]) -> Self:
        """Name the versions of an endpoint's documents."""
        return cls(
            bootstrap=content_hash(documents[names.BOOTSTRAP_FILE]),
            listeners=documents[listeners_file(endpoint.spec.routing)]["version_info"],
            clusters=documents[names.CLUSTERS_FILE]["version_info"],
            routes=documents[names.ROUTES_FILE]["version_info"],
        )

    def is_used_by(self, router: RouterSeen) -> bool:
        """Say whether a router uses all that it reads while it runs."""
        used = (router.listener_version, router.cluster_version, router.route_version)
        return used == (self.listeners, self.clusters, self.routes)

    def is_older(self, router: RouterSeen) -> bool:
        """Say whether a router was started with another bootstrap, and so has to be replaced."""
        return router.bootstrap not in (None, self.bootstrap)

    def is_behind(self, router: RouterSeen) -> bool:
        """Say whether a router takes requests in another way than the spec says; not while it tells nothing."""
        return self.is_older(router) or router.listener_version not in (None, self.listeners)


@dataclass(frozen=True, kw_only=True)
class RouterTrouble:
    """What a person has to look at."""

    reason: str
    message: str
    closed: bool
    """Every request is refused."""


def find_trouble(
    endpoint: ModelEndpoint, seen: Observation, config: RouterConfig, *, waited: timedelta, deadline: timedelta
) -> RouterTrouble | None:
    """Find what is wrong with an endpoint's routers, by what they told and how long they have had the configuration."""
    serving = [router for router in seen.routers if not router.terminating]
    return _lacking(endpoint, (*serving, *seen.starting_routers)) or _out_of_sync(
        endpoint, serving, config, waited=waited, deadline=deadline
    )


def lagging(seen: Observation, config: RouterConfig) -> tuple[str, ...]:
    """Name the router pods, ending ones too, that still take requests as an earlier spec said."""
    return tuple(sorted(router.name for router in seen.routers if config.is_behind(router)))


def waited_for(since: datetime | None, now: datetime) -> timedelta:
    """Say how long a configuration has been the wanted one."""
    return now - since if since else timedelta(0)


def _lacking(endpoint: ModelEndpoint, routers: Iterable[RouterSeen]) -> RouterTrouble | None:
    mounts = {mount.name: mount for mount in router_mounts(endpoint.spec.routing)}
    found = sorted((name, trouble) for router in routers for name, trouble in router.troubles.items() if name in mounts)
    if not found:
        return None
    name, trouble = found[0]
    return _told(mounts[name], trouble)


def _told(mount: Mount, trouble: str) -> RouterTrouble:
    if mount.folder == names.TLS_DIR:
        return _told_of_certificate(mount, trouble)
    thing = f'"{mount.keys[0]}" of {mount.kind} {mount.object_name} ({mount.field})'
    if trouble.startswith("line "):
        message = f'Key {thing}: {trouble} is not "<sha256 in hex> <client> [<end>]"; its API key is refused, the others are good'
        return RouterTrouble(reason=ACCESS_NOT_READY, message=message, closed=False)
    wrong = {
        "missing": f"There is no key {thing}: create it or name another one",
        "empty": f"There is no API key in key {thing}: add a line for each",
        "invalid": f"Key {thing} is no JSON Web Key Set: put the issuer's there",
    }.get(trouble, f"Key {thing} can't be used")
    return RouterTrouble(reason=ACCESS_NOT_READY, message=f"{wrong}. Until then every request is refused", closed=True)


def _told_of_certificate(mount: Mount, trouble: str) -> RouterTrouble:
    secret = f"{mount.kind} {mount.object_name} ({mount.field})"
    wrong = (
        f'There is no key "{mount.keys[0]}" of {secret}: create it or name another one'
        if trouble == "missing"
        else f'Keys "{mount.keys[0]}" and "{mount.keys[1]}" of {secret} are no certificate with its key: put both there'
    )
    message = f"{wrong}. Until then no new router pod gets ready, and those that are serve on as they did"
    return RouterTrouble(reason=CERTIFICATE_NOT_READY, message=message, closed=False)


def _out_of_sync(
    endpoint: ModelEndpoint,
    serving: Iterable[RouterSeen],
    config: RouterConfig,
    *,
    waited: timedelta,
    deadline: timedelta,
) -> RouterTrouble | None:
    routers = list(serving)
    refusing = sorted(
        router.name
        for router in routers
        if router.route_version and not config.is_older(router) and not config.is_used_by(router)
    )
    if refusing and waited > TAKE_UP:
        message = (
            f"Router pod {refusing[0]} does not take up the configuration, and serves on with the last good one; "
            f"kubectl logs {refusing[0]} says why"
        )
        return RouterTrouble(reason=OUT_OF_SYNC, message=message, closed=False)
    if routers and waited > deadline and all(config.is_older(router) for router in routers):
        message = (
            "No router pod with the new configuration gets ready, and those before it serve on; "
            f"kubectl describe deployment {names.router_name(endpoint.name)}, and its pods, say why"
        )
        return RouterTrouble(reason=OUT_OF_SYNC, message=message, closed=False)
    return None

"""A Lease by which one of several operator pods is the active one.

Trusts no clock but its own: how long another holder has been silent is measured from when *we* saw the Lease change
(as client-go does, and unlike kopf's peering). A holder stops before its Lease can be taken from it.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from modelendpoint_operator.errors import OperatorError

LEASE_SECONDS = 15
"""A Lease that was not renewed for so long may be taken."""
RENEW_DEADLINE_SECONDS = 10
"""A holder that could not renew for so long stops working."""
RETRY_SECONDS = 2


class Leases(Protocol):
    """The one Lease, as the elector needs it."""

    def read(self) -> dict[str, Any] | None:
        """Read the Lease; None when there is none."""

    def create(self, spec: dict[str, Any]) -> bool:
        """Create it; False when somebody else was quicker."""

    def replace(self, lease: dict[str, Any], spec: dict[str, Any]) -> bool:
        """Replace what was read; False when somebody else was quicker."""


class Elector:
    """Wins the Lease, keeps it, gives it back."""

    def __init__(
        self,
        leases: Leases,
        *,
        identity: str,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._identity = identity
        self._now = now
        self._clock = clock
        self._seen: tuple[Any, float] = (None, clock())
        self._stop = threading.Event()

    def win(self) -> bool:
        """Wait until the Lease is ours; False when told to stop before."""
        while not self._stop.is_set():
            if self._try():
                return True
            self._stop.wait(RETRY_SECONDS)
        return False

    def keep(self, *, lost: Callable[[], None]) -> None:
        """Renew the Lease until told to stop; call ``lost`` when that failed for too long."""
        renewed = self._clock()
        while not self._stop.wait(RETRY_SECONDS):
            if self._try():
                renewed = self._clock()
            elif self._clock() - renewed > RENEW_DEADLINE_SECONDS:
                lost()
                return

    def stop(self) -> None:
        """End ``win`` and ``keep``."""
        self._stop.set()

    def release(self) -> None:
        """Give the Lease back, so that another pod need not wait for it to run out."""
        try:
            lease = self._leases.read()
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                self._leases.replace(lease, {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
        except OperatorError:
            return

    def _try(self) -> bool:
        try:
            return self._acquire_or_renew()
        except OperatorError:
            return False

    def _acquire_or_renew(self) -> bool:
        lease = self._leases.read()
        now = self._now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        ours = {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        if lease is None:
            return self._leases.create({**ours, "acquireTime": now, "leaseTransitions": 0})
        spec = lease["spec"]
        holder = spec.get("holderIdentity") or None
        if holder == self._identity:
            return self._leases.replace(lease, {**spec, **ours})
        if holder is not None and not self._has_run_out(spec):
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + 1
        return self._leases.replace(lease, {**spec, **ours, "acquireTime": now, "leaseTransitions": transitions})

    def _has_run_out(self, spec: dict[str, Any]) -> bool:
        """Say whether the holder has been silent for its whole time since we first saw this renewal."""
        mark = (spec.get("holderIdentity"), spec.get("renewTime"))
        if self._seen[0] != mark:
            self._seen = (mark, self._clock())
        return self._clock() - self._seen[1] > float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

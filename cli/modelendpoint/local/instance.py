"""``mep local up``: the operator's engine on this machine, from its start to its end.

Put together here, and nothing else: planning is the operator's, running processes the node's.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from modelendpoint.errors import CliError
from modelendpoint.lifeline import Lifeline
from modelendpoint.linting.lint import lint_change
from modelendpoint.local.batches import LocalBatches
from modelendpoint.local.cluster import LocalCluster
from modelendpoint.local.containers import DRAIN_SECONDS, Containers, Folders
from modelendpoint.local.control import ControlServer
from modelendpoint.local.copies import Copies
from modelendpoint.local.events import EventLog
from modelendpoint.local.node import Node
from modelendpoint.local.objects import Key, Object, ObjectStore, key_of
from modelendpoint.local.ports import TrafficPorts
from modelendpoint.local.relocation import LOOPBACK
from modelendpoint.local.snapshot import build_snapshot
from modelendpoint.local.sources import Sources, read_sources
from modelendpoint.local.state import StateFolder
from modelendpoint.local.watching import FileWatcher
from modelendpoint.local.wording import in_our_commands
from modelendpoint_operator import names
from modelendpoint_operator.adapters.checks import CheckRunner
from modelendpoint_operator.batch_reconciler import BatchReconciler
from modelendpoint_operator.errors import OperatorError
from modelendpoint_operator.handlers import keys
from modelendpoint_operator.reconciler import Reconciler, utc_now
from modelendpoint_operator.settings import Settings
from modelendpoint_operator.workqueue import WorkQueue

PROBES_AT_ONCE = 8
EVENTS_SHOWN = 200

LONGEST_WAIT = timedelta(seconds=30)
"""A laptop that was asleep does not tell how long: whoever waits for a time looks at the clock this often."""

GATE_HOSTS = ("127.0.0.1",)
"""Hosts that gates may ask: a Prometheus or a service of one's own on this machine."""

Say = Callable[[str], None]


class Instance:
    """Everything that runs endpoints on this machine."""

    def __init__(
        self,
        state: StateFolder,
        paths: Sequence[Path],
        *,
        environment: Mapping[str, str],
        say: Say,
        first_port: int = 8080,
    ) -> None:
        self._state = state
        self._paths = [path.absolute() for path in paths]
        self._say = say
        if state.take():
            say("Ended what a crash had left running")
        self._lifeline = Lifeline(state.pods)
        self._said: set[str] = set()
        self._store = ObjectStore(state.objects)
        self._copies = Copies(state.copies)
        self._sources = Sources(manifests=(), files=(), notes=())
        self.events = EventLog(state.events)
        self._ports = TrafficPorts(state.ports, first=first_port)
        folders = Folders(pods=state.pods, hosts=state.hosts, copies=state.copies)
        containers = Containers(self._store, folders, environment=environment, traffic_port=self._ports.choose)
        self._node = Node(self._store, containers, folders, clock=utc_now, say=say)
        self._queue: WorkQueue[keys.Key] = WorkQueue()
        self._pool = ThreadPoolExecutor(max_workers=PROBES_AT_ONCE, thread_name_prefix="probe")
        settings = Settings(drain_seconds=DRAIN_SECONDS, identity="mep", gate_allowed_hosts=GATE_HOSTS)
        cluster = LocalCluster(
            self._store,
            self._node,
            self.events,
            checks=CheckRunner(settings),
            pool=self._pool,
            as_written=self._as_written,
        )
        batches = LocalBatches(self._store, self._node, self.events, pool=self._pool, as_written=self._as_written)
        self._reconcilers = {
            names.KIND: Reconciler(cluster, settings).reconcile,
            names.BATCH_KIND: BatchReconciler(batches, settings).reconcile,
        }
        self._control = ControlServer(
            {"snapshot": lambda _: self.snapshot(), "annotate": self._annotate, "down": self._down}
        )
        self._worker = threading.Thread(target=self._work, name="worker", daemon=True)
        self._stopping = threading.Event()
        watcher = FileWatcher(lambda: self._sources.files, self._apply_again)
        self._watcher = threading.Thread(target=watcher.run, args=(self._stopping,), name="watcher", daemon=True)
        self._started = False

    def start(self, *, watch: bool) -> dict[str, str]:
        """Read the files, begin, and return the URL of each endpoint; raise ``CliError`` for files that can't be applied."""
        self._store.listen(self._hear)
        self._node.listen(self._hear)
        self._apply(read_sources(self._paths, self._copies))
        self._node.start()
        self._worker.start()
        if watch:
            self._watcher.start()
        self._control.start()
        self._state.announce(self._control.socket)
        self._started = True
        return {
            name: f"http://{LOOPBACK}:{self._ports.choose(namespace, name)}"
            for namespace, name in self._sources.endpoints
        }

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether somebody has asked for the end meanwhile."""
        return self._stopping.wait(seconds)

    def ask_to_stop(self) -> None:
        """Let ``wait`` return."""
        self._stopping.set()

    def stop(self, *, keep: bool = False) -> None:
        """End every process and leave nothing behind, but the state folder if it is to be kept.

        What a crash has left is kept too where the start failed, for the next try.
        """
        self._stopping.set()
        self._queue.close()
        for thread in (self._watcher, self._worker):
            if thread.ident is not None:
                thread.join()
        self._node.stop()
        self._lifeline.close()
        self._pool.shutdown()
        self._control.stop()
        self._state.leave(keep=keep or (not self._started and bool(self._store.list_all())))

    def snapshot(self) -> dict[str, Any]:
        """Show everything there is."""
        return build_snapshot(
            self._store,
            self._node.pods(),
            self.events.last(EVENTS_SHOWN),
            ports=self._ports,
            state=self._state,
            as_written=self._as_written,
        )

    def _as_written(self, text: str) -> str:
        """Put what people know, and can type here, into what the operator says."""
        return in_our_commands(self._copies.as_written(text))

    # Files.

    def _apply(self, sources: Sources) -> None:
        """Write what the files say, and remove what is in none of them any more."""
        self._refuse_changes(sources)
        self._sources = sources
        wanted = set(map(key_of, sources.manifests))
        for manifest in sources.manifests:
            self._store.apply(manifest, now=utc_now())
        for body in self._store.list_all():
            key = key_of(body)
            if key not in wanted and not body["metadata"].get("ownerReferences"):
                self._say(f"{key.kind} {key.name} is in none of the files any more: removed")
                self._store.delete(key)
        for note in sources.notes:
            if note not in self._said:
                self._said.add(note)
                self._say(f"Different here: {note}")

    def _refuse_changes(self, sources: Sources) -> None:
        """Raise ``CliError`` for what an API server would not let anybody change."""
        known = ((manifest, self._store.get(*key_of(manifest))) for manifest in sources.manifests)
        refused = [
            f"{manifest['kind']} {manifest['metadata']['name']}: {message}"
            for manifest, before in known
            if before is not None
            for message in lint_change(before, manifest)
        ]
        if refused:
            raise CliError("\n".join(refused))

    def _apply_again(self) -> None:
        try:
            self._apply(read_sources(self._paths, self._copies))
        except (CliError, OSError) as error:
            self._say(f"Not applied: {error}")

    # The operator's queue.

    def _hear(self, body: Object) -> None:
        """Look at an object of ours that has changed, and at the parent of any other."""
        metadata = body["metadata"]
        if body["kind"] in self._reconcilers:
            self._queue.add(keys.Key(*key_of(body)))
        if (parent := keys.parent_of(metadata)) is not None:
            self._queue.add(parent)
        if body["kind"] == names.KIND:
            for batch in self._store.list_all(names.BATCH_KIND, namespace=metadata["namespace"]):
                if _waits_for(batch, metadata["name"]):
                    self._queue.add(keys.Key(*key_of(batch)))

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                plan = self._reconcilers[key.kind](key.namespace, key.name)
            except OperatorError as error:
                self._say(f"Tried again soon: {error}")
                self._queue.failed(key)
            except Exception as error:  # noqa: BLE001  a bug must not end the thread that everything here depends on
                self._say(f"A bug of mep, tried again: {type(error).__name__}: {error}")
                self._queue.failed(key)
            else:
                again = plan.look_again_after if plan else None
                self._queue.done(key, again_after=None if again is None else min(again, LONGEST_WAIT))

    # What other commands ask for.

    def _annotate(self, question: Mapping[str, Any]) -> dict[str, Any]:
        kind, namespace, name = (str(question[part]) for part in ("kind", "namespace", "name"))
        annotations = {str(key): str(value) for key, value in question["annotations"].items()}
        if not self._store.annotate(Key(kind, namespace, name), annotations):
            raise CliError(f"There is no {kind} {name}. `mep get` lists what is here.")
        return {}

    def _down(self, question: Mapping[str, Any]) -> dict[str, Any]:
        self.ask_to_stop()
        return {}


def _waits_for(batch: Object, endpoint: str) -> bool:
    """Tell whether a run takes its model from an endpoint, and has not got it yet."""
    reference = batch["spec"].get("endpointRef") or {}
    return bool(reference.get("name") == endpoint and "model" not in (batch.get("status") or {}))

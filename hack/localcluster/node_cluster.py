"""The ``node`` kind: a real single node in namespaces of its own on this machine. Needs root, no container registry."""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries, cgroups, debian, namespaces
from localcluster.archives import build_scratch_archive, is_listed, read_image
from localcluster.certificates import make_certificates, read_kubeconfig
from localcluster.commands import ClusterError, locked, run, say, write_atomically
from localcluster.components import (
    API_SERVER,
    CLIENTS,
    HOME,
    PAUSE_IMAGE,
    NodeSettings,
    build_files,
    build_identities,
    build_parts,
)
from localcluster.door import ANY_PORT, open_door
from localcluster.folders import Cache, ClusterFolder
from localcluster.logs import telling_lines
from localcluster.processes import Process
from localcluster.reports import PartReport, is_hopeless, list_trouble, read_report

READY_SECONDS = 120.0
RECOVERY_SECONDS = 30.0
ASK_EVERY_SECONDS = 0.2
SAY_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class NodeCluster:
    """A cluster of the ``node`` kind, whether it is there or not."""

    name: str
    cache: Cache

    @property
    def folder(self) -> ClusterFolder:
        """Where everything of it is kept."""
        return self.cache.cluster(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.folder.kubeconfig

    def up(self) -> None:
        """Start it, unless it is up; go on with, or start again, what is half there."""
        if os.geteuid() != 0:
            raise ClusterError("a cluster of kind `node` needs root; run as root, or have Docker and kind and use them")
        debian.install(debian.missing(debian.NODE), reason="a node of a cluster")
        binaries.ensure_binaries(self.cache, binaries.NODE)
        with locked(self.folder.lock):
            if not self._runs_well():
                self._start()
        say(f"cluster {self.name} is up; KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """End it and remove all of it but its logs."""
        with locked(self.folder.lock):
            self._stop()
            shutil.rmtree(self.folder.var_lib, ignore_errors=True)
            shutil.rmtree(self.folder.root / "kubectl", ignore_errors=True)
            self.folder.kubeconfig.unlink(missing_ok=True)
            self.folder.settings.unlink(missing_ok=True)
        say(f"cluster {self.name} is down; its logs are in {self.folder.log}")

    def status(self) -> list[str]:
        """List what is wrong; nothing if all is well."""
        if not self.folder.settings.exists():
            return ["there is no such cluster; start it with `hack/cluster up`"]
        if not namespaces.find(self.folder):
            return ["it does not run; start it with `hack/cluster up`"]
        return self._trouble()

    def load(self, archives: Sequence[Path]) -> None:
        """Give image archives to containerd; those that it has already are left out."""
        words = namespaces.enter_node(self._process())
        ctr = [*words, "ctr", "--namespace=k8s.io", "images"]
        there = run([*ctr, "list"])
        for archive in archives:
            image = read_image(archive)
            if is_listed(image, there):
                continue
            with archive.open("rb") as file:
                done = subprocess.run([*ctr, "import", "-"], stdin=file, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ClusterError(f"containerd did not take {archive}:\n{done.stderr}")
            say(f"loaded {image.reference if image else archive}")

    def execute(self, command: Sequence[str]) -> int:
        """Run a command in the node's network: Services, pods and node ports are reachable there."""
        return subprocess.run([*namespaces.enter_network(self._process()), *command], check=False).returncode

    def stop_node(self, node: str) -> None:
        """Refuse."""
        raise ClusterError(
            f"can't stop `{node}`: only for clusters of kind `kind`; it has one node; `hack/cluster down` ends it"
        )

    def start_node(self, node: str) -> None:
        """Refuse."""
        raise ClusterError(f"can't start `{node}`: only for clusters of kind `kind`")

    def _process(self) -> Process:
        process = namespaces.find(self.folder)
        if not process:
            raise ClusterError(f"cluster {self.name} does not run; start it with `hack/cluster up --name {self.name}`")
        return process

    def _settings(self) -> NodeSettings:
        return NodeSettings.from_json(self.folder.settings.read_text())

    def _runs_well(self) -> bool:
        """Say whether it runs and is well, or becomes so: a part that ended a moment ago is being started again."""
        if not (self.folder.settings.exists() and self.folder.parts.exists() and namespaces.find(self.folder)):
            return False
        trouble = self._watch(seconds=RECOVERY_SECONDS)
        if trouble:
            say(f"cluster {self.name} is not well ({'; '.join(trouble)}); starting it again")
        return not trouble

    def _start(self) -> None:
        """Start process 1 on what is kept, after ending an older one of this cluster, and wait until all is well."""
        began = time.monotonic()
        wanted = self._settings().port if self.folder.settings.exists() else ANY_PORT
        self._stop()
        with open_door(wanted) as door:
            settings = self._write_files(port=door.getsockname()[1])
            cgroups.make(settings.cgroup, _hierarchies())
            say(f"starting cluster {self.name}: a node of Kubernetes {binaries.KUBERNETES.version}")
            namespaces.start(self.folder, door)
        if trouble := self._watch(seconds=READY_SECONDS):
            told = self._telling_logs()
            self._stop()
            raise ClusterError(f"cluster {self.name} did not come up: {'; '.join(trouble)}\n{told}")
        say(f"  the node is ready ({time.monotonic() - began:.1f} s)")

    def _stop(self) -> None:
        """End what runs of it; all that it keeps on disk stays."""
        namespaces.stop(self.folder)
        self.folder.parts.unlink(missing_ok=True)
        if self.folder.settings.exists():
            cgroups.remove(self._settings().cgroup, _hierarchies())

    def _write_files(self, *, port: int) -> NodeSettings:
        """Write all that the node reads, and the administrator's kubeconfig."""
        if not self.folder.settings.exists():  # a new cluster
            shutil.rmtree(self.folder.log, ignore_errors=True)
        settings = NodeSettings(name=self.name, port=port, snapshotter=self._choose_snapshotter())
        write_atomically(self.folder.settings, settings.to_json())
        home = self.folder.var_lib / Path(HOME).name
        make_certificates(home / "pki", build_identities(settings))
        for path, text in build_files(settings).items():
            write_atomically(home / path, text)
        user = f"modelendpoint-{self.name}"
        for client in CLIENTS:
            text = read_kubeconfig(home / "pki", client, server=API_SERVER, name=user)
            write_atomically(home / "kubeconfigs" / client, text, mode=0o600)
        outside = read_kubeconfig(home / "pki", "admin", server=settings.server, name=user)
        write_atomically(self.kubeconfig, outside, mode=0o600)
        for source in binaries.NODE:
            for name in source.packages:
                _link_or_copy(binaries.binary(self.cache, source, name), home / "bin" / name)
        pause = (home / "bin" / "pause").read_bytes()
        archive = build_scratch_archive(PAUSE_IMAGE, {"pause": pause}, ["/pause"], machine=platform.machine())
        (home / "pause.tar").write_bytes(archive)
        return settings

    def _choose_snapshotter(self) -> str:
        """Overlays can't lie on an overlay, such as the file system of a container."""
        self.folder.root.mkdir(parents=True, exist_ok=True)
        below = run(["stat", "--file-system", "--format=%T", self.folder.root]).strip()
        return "native" if below == "overlayfs" else "overlayfs"

    def _trouble(self) -> list[str]:
        """List what is wrong with a cluster whose process 1 lives."""
        names = [part.name for part in build_parts(self._settings())]
        return list_trouble(names, self._reported()) or self._node_trouble()

    def _reported(self) -> dict[str, PartReport]:
        try:
            return read_report(self.folder.parts.read_text())
        except FileNotFoundError:
            return {}

    def _node_trouble(self) -> list[str]:
        kubectl = str(binaries.binary(self.cache, binaries.KUBERNETES, "kubectl"))
        options = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder.root}/kubectl"]
        options += ["--request-timeout=3s", "--namespace=default"]
        try:
            # Without the service account no pod can be made; it comes a moment after the node.
            answer = run([kubectl, *options, "get", f"node/{self.name}", "serviceaccount/default", "--output=json"])
        except ClusterError as error:
            return [str(error).splitlines()[-1]]
        conditions = json.loads(answer)["items"][0]["status"]["conditions"]
        return [
            f"the node is not ready: {condition['message']}"
            for condition in conditions
            if condition["type"] == "Ready" and condition["status"] != "True"
        ]

    def _watch(self, *, seconds: float) -> list[str]:
        """Wait until all is well, and say what becomes ready; return what is wrong when there is no more hope."""
        deadline = time.monotonic() + seconds
        shown = {name for name, part in self._reported().items() if part.is_ready}
        last_said = time.monotonic()
        while trouble := self._trouble():
            reported = self._reported()
            for name in sorted({name for name, part in reported.items() if part.is_ready} - shown):
                say(f"  {name} is ready ({reported[name].after:.1f} s)")
                shown.add(name)
                last_said = time.monotonic()
            if time.monotonic() - last_said > SAY_EVERY_SECONDS:
                say(f"  waiting: {'; '.join(trouble)}")
                last_said = time.monotonic()
            if not namespaces.find(self.folder) or is_hopeless(reported.values()) or time.monotonic() > deadline:
                return trouble
            time.sleep(ASK_EVERY_SECONDS)
        return []

    def _telling_logs(self) -> str:
        """Choose what the logs of the parts that are not ready tell."""
        names = [name for name, part in self._reported().items() if not part.is_ready and part.starts] or ["node"]
        logs = (self.folder.log / f"{name}.log" for name in names)
        return "\n".join(f"{log}:\n{telling_lines(log)}" for log in logs if log.exists())


def _hierarchies() -> list[Path]:
    return cgroups.find_hierarchies(cgroups.MOUNTS.read_text())


def _link_or_copy(source: Path, target: Path) -> None:
    """Have the file there too, without taking room twice where that can be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)

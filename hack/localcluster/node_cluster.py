"""The ``node`` kind: a real single node in namespaces of its own on this machine. Needs root, no container registry."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries, cgroups, debian, namespaces
from localcluster.addresses import lowest_free
from localcluster.archives import build_scratch_archive, read_digest
from localcluster.certificates import make_certificates, read_kubeconfig
from localcluster.commands import ClusterError, locked, run, say, write_atomically
from localcluster.components import (
    CLIENTS,
    HOME,
    PAUSE_IMAGE,
    NodeSettings,
    build_files,
    build_identities,
    build_parts,
)
from localcluster.folders import Cache, ClusterFolder
from localcluster.logs import telling_lines
from localcluster.processes import Process

READY_SECONDS = 120.0
ASK_EVERY_SECONDS = 0.2
SAY_EVERY_SECONDS = 5.0
TOO_MANY_STARTS = 4
"""A part that has ended this often while the cluster starts will not come up."""


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
        began = time.monotonic()
        debian.install(debian.missing(debian.NODE), reason="a node of a cluster")
        binaries.ensure_binaries(self.cache, binaries.NODE)
        with locked(self.folder.lock):
            if namespaces.find(self.folder) and not self._trouble():
                say(f"cluster {self.name} is up")
                return
            if not self._is_starting():
                self._start()
            self._wait_until_ready(began)

    def down(self) -> None:
        """End it and remove all of it but its logs."""
        with locked(self.folder.lock):
            if not self.folder.settings.exists():
                say(f"cluster {self.name} is not there")
                return
            settings = self._settings()
            namespaces.stop(self.folder, settings.addresses)
            cgroups.remove(settings.cgroup, _hierarchies())
            shutil.rmtree(self.folder.var_lib, ignore_errors=True)
            self.folder.kubeconfig.unlink(missing_ok=True)
            self.folder.settings.unlink()
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
            digest = read_digest(archive)
            if digest and digest in there:
                continue
            with archive.open("rb") as file:
                done = subprocess.run([*ctr, "import", "-"], stdin=file, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ClusterError(f"containerd did not take {archive}:\n{done.stderr}")
            say(f"loaded {archive.stem}")

    def execute(self, command: Sequence[str]) -> int:
        """Run a command in the node's network: Services, pods and node ports are reachable there."""
        return subprocess.run([*namespaces.enter_network(self._process()), *command], check=False).returncode

    def _process(self) -> Process:
        process = namespaces.find(self.folder)
        if not process:
            raise ClusterError(f"cluster {self.name} does not run; start it with `hack/cluster up --name {self.name}`")
        return process

    def _settings(self) -> NodeSettings:
        return NodeSettings.from_json(self.folder.settings.read_text())

    def _start(self) -> None:
        """Start process 1 on what is kept; an older one of this cluster is ended first."""
        settings = self._choose_settings()
        namespaces.stop(self.folder, settings.addresses)
        self.folder.parts.unlink(missing_ok=True)
        self._write_files(settings)
        cgroups.make(settings.cgroup, _hierarchies())
        say(f"starting cluster {self.name}: a node of Kubernetes {binaries.KUBERNETES.version}")
        namespaces.start(self.folder, settings.addresses)

    def _choose_settings(self) -> NodeSettings:
        with locked(self.cache.clusters / ".lock"):
            if self.folder.settings.exists():
                return self._settings()
            others = (NodeSettings.from_json(path.read_text()) for path in self.cache.clusters.glob("*/settings.json"))
            taken = {settings.index for settings in others}
            settings = NodeSettings(name=self.name, index=lowest_free(taken))
            shutil.rmtree(self.folder.log, ignore_errors=True)
            write_atomically(self.folder.settings, settings.to_json())
            return settings

    def _write_files(self, settings: NodeSettings) -> None:
        home = self.folder.var_lib / Path(HOME).name
        make_certificates(home / "pki", build_identities(settings))
        for path, text in build_files(settings).items():
            write_atomically(home / path, text)
        for client in CLIENTS:
            text = read_kubeconfig(home / "pki", client, server=settings.server, name=f"modelendpoint-{self.name}")
            write_atomically(home / "kubeconfigs" / client, text, mode=0o600)
            if client == "admin":
                write_atomically(self.kubeconfig, text, mode=0o600)
        for source in binaries.NODE:
            for name in source.packages:
                _link_or_copy(binaries.binary(self.cache, source, name), home / "bin" / name)
        pause = (home / "bin" / "pause").read_bytes()
        (home / "pause.tar").write_bytes(build_scratch_archive(PAUSE_IMAGE, {"pause": pause}, ["/pause"]))

    def _trouble(self) -> list[str]:
        """List what is wrong with a cluster whose process 1 lives."""
        reported = self._reported()
        parts = [part.name for part in build_parts(self._settings())]
        found = [f"{name} is {phase}" for name in parts if (phase := reported.get(name, {}).get("phase")) != "ready"]
        return found or self._node_trouble()

    def _reported(self) -> dict[str, dict[str, str | int | float]]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self.folder.parts.read_text()))
        return {}

    def _node_trouble(self) -> list[str]:
        kubectl = [str(self.cache.bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", "--request-timeout=3s"]
        ready = '{.status.conditions[?(@.type=="Ready")]}'
        try:
            condition = json.loads(run([*kubectl, "get", "node", self.name, "-o", f"jsonpath={ready}"]) or "{}")
        except ClusterError as error:
            return [f"the node has not registered: {error}"]
        return [] if condition.get("status") == "True" else [f"the node is not ready: {condition.get('message')}"]

    def _is_starting(self) -> bool:
        """Say whether process 1 lives and has parts that have never been ready: an interrupted ``up`` left it so."""
        if not namespaces.find(self.folder):
            return False
        reported = self._reported()
        return not reported or any(part["phase"] == "waiting" for part in reported.values())

    def _wait_until_ready(self, began: float) -> None:
        shown: set[str] = set()
        last = time.monotonic()
        while trouble := self._trouble():
            for name, part in self._reported().items():
                if part["phase"] == "ready" and name not in shown:
                    shown.add(name)
                    say(f"  {name} ({part['after']} s)")
                    last = time.monotonic()
            self._give_up_if_hopeless(began)
            if time.monotonic() - last > SAY_EVERY_SECONDS:
                say(f"  waiting: {'; '.join(trouble)}")
                last = time.monotonic()
            time.sleep(ASK_EVERY_SECONDS)
        say(f"cluster {self.name} is up after {time.monotonic() - began:.1f} s; KUBECONFIG={self.kubeconfig}")

    def _give_up_if_hopeless(self, began: float) -> None:
        broken = [name for name, part in self._reported().items() if _is_hopeless(part)]
        is_late = time.monotonic() - began > READY_SECONDS
        if not broken and not is_late and namespaces.find(self.folder):
            return
        names = broken or [name for name, part in self._reported().items() if part["phase"] != "ready"] or ["node"]
        logs = (self.folder.log / f"{name}.log" for name in names)
        told = "\n".join(f"{log}:\n{telling_lines(log)}" for log in logs if log.exists())
        namespaces.stop(self.folder, self._settings().addresses)
        raise ClusterError(f"cluster {self.name} did not come up: {', '.join(names)} failed\n{told}")


def _is_hopeless(part: dict[str, str | int | float]) -> bool:
    return part["phase"] != "ready" and int(part["starts"]) >= TOO_MANY_STARTS


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

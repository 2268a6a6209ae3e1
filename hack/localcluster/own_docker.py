"""A Docker of our own for one kind cluster: where there is none, or none that may be used. Needs root and Debian."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from localcluster import cgroups, debian, namespaces
from localcluster.commands import ClusterError, run, run_long, say, wait_until, write_atomically
from localcluster.components import NodeSettings
from localcluster.door import open_door
from localcluster.folders import Cache, ClusterFolder
from localcluster.reports import read_report

PACKAGE = "docker.io"
PROCESS_1 = "localcluster.docker_host"
START_SECONDS = 60


@dataclass(frozen=True)
class OwnDocker:
    """The Docker of one cluster, whether it runs or not."""

    name: str
    cache: Cache

    @property
    def folder(self) -> ClusterFolder:
        """Where everything of it is kept."""
        return self.cache.cluster(self.name)

    @property
    def is_there(self) -> bool:
        """Say whether the cluster was made on a Docker of its own."""
        return self.folder.settings.exists()

    @property
    def is_running(self) -> bool:
        """Say whether its daemon answers."""
        return self.is_there and bool(namespaces.find(self.folder)) and self._answers()

    @property
    def port(self) -> int:
        """The port of loopback, in there and out here, that the cluster's API server is to have."""
        return NodeSettings.from_json(self.folder.settings.read_text()).port

    @property
    def environment(self) -> dict[str, str]:
        """What makes ``docker`` and ``kind`` talk to it."""
        programs = self.cache.docker / "usr"
        path = os.pathsep.join([f"{programs}/bin", f"{programs}/sbin", os.environ["PATH"]])
        return {**os.environ, "DOCKER_HOST": f"unix://{self.folder.docker_socket}", "PATH": path}

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.is_running:
            return
        if os.geteuid() != 0:
            raise ClusterError("a Docker of its own needs root; start Docker as usual, or take CLUSTER=node as root")
        debian.install(debian.missing(debian.NODE), reason="a Docker of its own")
        self.stop()
        self._unpack()
        with open_door() as door:
            settings = NodeSettings(name=self.name, port=door.getsockname()[1])
            write_atomically(self.folder.settings, settings.to_json())
            cgroups.make(settings.cgroup, cgroups.find_hierarchies(cgroups.MOUNTS.read_text()))
            say(f"starting a Docker for cluster {self.name}")
            namespaces.start(self.folder, door, module=PROCESS_1, environment=self.environment)
        wait_until(self._answers, seconds=START_SECONDS, failure=f"no answer; see {self.folder.log}/dockerd.log")

    def stop(self) -> None:
        """End it with all that runs on it, and remove what it keeps."""
        namespaces.stop(self.folder)
        if self.is_there:
            settings = NodeSettings.from_json(self.folder.settings.read_text())
            cgroups.remove(settings.cgroup, cgroups.find_hierarchies(cgroups.MOUNTS.read_text()))
        for path in (self.folder.parts, self.folder.settings, self.folder.docker_socket):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder.var_lib, ignore_errors=True)

    def has_image(self, reference: str) -> bool:
        """Say whether it has an image of that name."""
        return bool(run(["docker", "images", "--quiet", reference], environment=self.environment))

    def import_image(self, archive: Path, reference: str) -> None:
        """Make an image for kind nodes of the archive of a root file system."""
        changes = ("ENV container=docker", 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]')
        options = [f"--change={change}" for change in changes]
        run_long(["docker", "import", *options, str(archive), reference], environment=self.environment)

    def _answers(self) -> bool:
        return any(part.is_ready for part in read_report(_read(self.folder.parts)).values())

    def _unpack(self) -> None:
        """Take the programs out of Debian's package: installed, it would start a daemon for the whole machine."""
        if self.cache.docker.exists():
            return
        with tempfile.TemporaryDirectory(prefix="modelendpoint-docker-") as folder:
            run(["apt-get", "-qq", "download", PACKAGE], folder=Path(folder))
            (package,) = Path(folder).glob("*.deb")
            beside = self.cache.root / ".docker.new"
            shutil.rmtree(beside, ignore_errors=True)
            run(["dpkg-deb", "--extract", package, beside])
            beside.rename(self.cache.docker)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else "{}"

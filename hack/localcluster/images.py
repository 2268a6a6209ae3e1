"""Build the images of this checkout, when their inputs have changed, and bring images to a cluster."""

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localcluster import binaries
from localcluster.archives import build_scratch_archive
from localcluster.build_settings import build_apt_settings, build_pip_settings
from localcluster.buildah import Buildah
from localcluster.commands import ClusterError, locked, run, say
from localcluster.docker import Docker
from localcluster.folders import REPOSITORY, Cache
from localcluster.image_inputs import INPUTS, hash_inputs, read_inputs, read_version

LABEL = "dev.modelendpoint.inputs"
CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
STORE_USER = "65532:65532"


class Builder(Protocol):
    """What builds images: Docker, or buildah where there is none."""

    def prepare(self) -> None:
        """Have the base image."""

    def build(self, target: str, reference: str, options: list[str]) -> None:
        """Build one target of the Dockerfile."""

    def save(self, reference: str, archive: Path) -> None:
        """Write the image to an archive."""


@dataclass(frozen=True)
class Images:
    """The images of this checkout and of the test store, as archives in the cache."""

    cache: Cache

    @property
    def version(self) -> str:
        """The tag of the product's images."""
        return read_version((REPOSITORY / "pyproject.toml").read_text())

    def reference(self, name: str) -> str:
        """Name an image as users do."""
        return f"ghcr.io/modelendpoint/{name}:{self.version}"

    def build_all(self) -> list[Path]:
        """Build what has changed; return the archives of all images."""
        with locked(self.cache.images / ".lock"):
            return [*(self._ensure(name) for name in INPUTS), self._ensure_store()]

    def archive(self, reference: str) -> Path:
        """Where the archive of an image is, built or not."""
        return self.cache.images / (reference.replace("/", "_").replace(":", "_") + ".tar")

    def find(self, image: str) -> Path:
        """Take an archive by its path, or by the name of an image of ours."""
        if Path(image).is_file():
            return Path(image)
        reference = self.reference(image) if image in INPUTS else image
        if not self.archive(reference).exists():
            raise ClusterError(
                f"there is no archive {image}, and no image {reference}; build with `hack/cluster images`"
            )
        return self.archive(reference)

    def _ensure(self, name: str) -> Path:
        reference = self.reference(name)
        archive = self.archive(reference)
        wanted = hash_inputs({"version": self.version.encode(), **read_inputs(REPOSITORY, INPUTS[name])})
        if not _is_current(archive, wanted):
            began = time.monotonic()
            say(f"building {reference}")
            with _build_options() as options:
                builder = _choose_builder(self.cache)
                builder.prepare()
                labels = [f"--label={LABEL}={wanted}", f"--build-arg=VERSION={self.version}"]
                builder.build(name, reference, [*options, *labels])
            builder.save(reference, archive)
            _stamp(archive).write_text(wanted)
            size = archive.stat().st_size / 1e6
            say(f"built {reference} in {time.monotonic() - began:.0f} s; the archive has {size:.0f} MB")
        return archive

    def _ensure_store(self) -> Path:
        """Make the image of the S3 store that tests and the demo keep models in."""
        binaries.ensure_binaries(self.cache, [binaries.VERSITYGW])
        reference = f"modelendpoint.local/versitygw:{binaries.VERSITYGW.version}"
        program = binaries.binary(self.cache, binaries.VERSITYGW, "versitygw")
        archive = self.archive(reference)
        wanted = program.with_name("build-key").read_text()
        if not _is_current(archive, wanted):
            files = {"versitygw": program.read_bytes()}
            machine = platform.machine()
            data = build_scratch_archive(reference, files, ["/versitygw"], machine=machine, user=STORE_USER)
            archive.write_bytes(data)
            _stamp(archive).write_text(wanted)
        return archive


def _stamp(archive: Path) -> Path:
    return archive.with_suffix(".inputs")


def _is_current(archive: Path, wanted: str) -> bool:
    stamp = _stamp(archive)
    return archive.exists() and stamp.exists() and stamp.read_text() == wanted


def _choose_builder(cache: Cache) -> Builder:
    return Docker() if Docker.is_there() else Buildah(cache)


@contextmanager
def _build_options() -> Iterator[list[str]]:
    """Hand this machine's settings for pip, apt and TLS to a build."""
    bundle = next((Path(os.environ[name]) for name in CA_BUNDLES if os.environ.get(name)), SYSTEM_BUNDLE)
    files = [Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []
    files = [file for file in [*(Path(name).expanduser() for name in PIP_FILES), *files] if file.is_file()]
    with tempfile.TemporaryDirectory(prefix="modelendpoint-build-") as folder:
        secrets = {"pip": Path(folder, "pip.conf"), "apt": Path(folder, "apt.conf")}
        texts = [file.read_text() for file in files]
        secrets["pip"].write_text(build_pip_settings(os.environ, texts, has_ca=bundle.is_file()))
        secrets["apt"].write_text(build_apt_settings(_apt_dump()))
        if bundle.is_file():
            secrets["ca"] = bundle
        proxies = [f"--build-arg={name}={os.environ[name]}" for name in PROXIES if os.environ.get(name)]
        yield [*(f"--secret=id={name},src={path}" for name, path in secrets.items()), *proxies]


def _apt_dump() -> str:
    try:
        return run(["apt-config", "dump"])
    except FileNotFoundError:
        return ""

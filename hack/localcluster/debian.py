"""Debian packages: which are needed for what, and how to get those that are missing."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from localcluster.commands import ClusterError, run, run_long, say

NODE = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/conntrack": "conntrack",
    "/usr/sbin/ip": "iproute2",
    "/usr/bin/openssl": "openssl",
}
"""What a node needs: a file, and the package that has it."""

BUILD = {
    "/usr/bin/buildah": "buildah",
    "/usr/lib/podman/netavark": "netavark",  # newer versions of buildah don't start without it
    "/usr/sbin/debootstrap": "debootstrap",
}
"""What building images needs where there is no Docker."""

BASE = {"/usr/sbin/debootstrap": "debootstrap"}
"""What making a root file system needs."""

CERTIFICATES = {"/etc/ssl/certs/ca-certificates.crt": "ca-certificates"}


def missing(needed: dict[str, str]) -> list[str]:
    """Name the packages whose file is not there. A program may also stand elsewhere on PATH."""
    return sorted(package for path, package in needed.items() if not is_there(path))


def is_there(path: str) -> bool:
    """Say whether the file is there, or a program of its name is on PATH."""
    return Path(path).exists() or shutil.which(Path(path).name) is not None


def install(packages: Iterable[str], *, reason: str) -> None:
    """Install packages with apt-get; without root or apt-get say what to install."""
    packages = list(packages)
    if not packages:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(f"{reason} needs Debian packages; install them first: apt-get install {' '.join(packages)}")
    say(f"installing Debian packages for {reason}: {' '.join(packages)}")
    options = ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_long(["apt-get", *options, "update"], environment=environment)
    run_long(["apt-get", *options, "install", "-y", "--no-install-recommends", *packages], environment=environment)


def find_mirror() -> list[str]:
    """Find the mirror of Debian that this machine installs from; nothing where it has none, such as on Ubuntu."""
    listing = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"])
    lines = (line.split() for line in listing.splitlines())
    return next(([uri] for origin, label, uri in lines if origin == label == "Debian"), [])

"""Image archives in the OCI layout: build one around a static binary, read which image one holds."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "io.containerd.image.name"
REFERENCE = "org.opencontainers.image.ref.name"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def build_scratch_archive(
    reference: str,
    files: Mapping[str, bytes],
    entrypoint: Sequence[str],
    *,
    machine: str,
    user: str = "",
    level: int = 9,
) -> bytes:
    """Build the archive of an image that holds nothing but these programs. The same input gives the same bytes."""
    layer = gzip.compress(plain := _tar(files, mode=0o755), compresslevel=level, mtime=0)
    config = _json(
        {
            "architecture": ARCHITECTURES[machine],
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), **({"User": user} if user else {})},
            "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        }
    )
    named = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    named["annotations"] = {NAME: reference, REFERENCE: reference}
    blobs = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in (layer, config, manifest)}
    index = _json({"schemaVersion": 2, "manifests": [named]})
    return _tar({"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs}, mode=0o644)


@dataclass(frozen=True)
class Image:
    """Which image an archive holds, as containerd knows it."""

    reference: str
    digest: str


def read_image(archive: Path) -> Image | None:
    """Read which image an archive holds; None for the layout of an older Docker, which does not say it."""
    with tarfile.open(archive) as tar:
        if "index.json" not in tar.getnames():
            return None
        index = tar.extractfile("index.json")
        assert index is not None
        found = json.load(index)["manifests"][0]
    names = found.get("annotations", {})
    return Image(names.get(NAME) or names.get(REFERENCE, ""), found["digest"])


def is_listed(image: Image | None, listing: str) -> bool:
    """Say whether the output of ``ctr images list`` has the image by this very name."""
    lines = (line.split() for line in listing.splitlines())
    return image is not None and any(line[:1] == [image.reference] and image.digest in line for line in lines)


def _tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()

"""Archives of images that are made here."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from localcluster.archives import Image, build_scratch_archive, is_listed, read_image

LISTING = """REF TYPE DIGEST SIZE PLATFORMS LABELS
localhost/pause:1 application/vnd.oci.image.manifest.v1+json sha256:aaa 1.0 MiB linux/amd64 -
sha256:ccc application/vnd.oci.image.manifest.v1+json sha256:bbb 1.0 MiB linux/amd64 -
"""


def an_archive() -> bytes:
    return build_scratch_archive(
        "localhost/tool:1", {"tool": b"\x7fELF"}, ["/tool"], machine="x86_64", user="65532:65532"
    )


def test_the_same_programs_give_the_same_bytes() -> None:
    assert an_archive() == an_archive()


def test_every_blob_has_the_digest_that_names_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(an_archive())) as tar:
        blobs = [member for member in tar.getmembers() if member.name.startswith("blobs/")]
        for member in blobs:
            file = tar.extractfile(member)
            assert file is not None
            assert hashlib.sha256(file.read()).hexdigest() == member.name.rpartition("/")[2]
    assert len(blobs) == 3


def test_an_archive_says_which_image_it_holds(tmp_path: Path) -> None:
    archive = tmp_path / "tool.tar"
    archive.write_bytes(an_archive())
    image = read_image(archive)
    assert image is not None
    assert image.reference == "localhost/tool:1"
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile(f"blobs/sha256/{image.digest.removeprefix('sha256:')}")
        assert manifest is not None
        assert len(json.load(manifest)["layers"]) == 1


def test_the_layout_of_an_older_docker_is_not_known(tmp_path: Path) -> None:
    archive = tmp_path / "old.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    assert read_image(archive) is None


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        (Image("localhost/pause:1", "sha256:aaa"), True),
        (Image("localhost/pause:1", "sha256:bbb"), False),
        (Image("localhost/pause:2", "sha256:aaa"), False),
        (None, False),
    ],
    ids=["the same", "older bytes are still there without the name", "another name", "unknown"],
)
def test_an_image_is_there_only_under_its_own_name(image: Image | None, listed: bool) -> None:
    assert is_listed(image, LISTING) is listed

"""Artifacts of a container registry that are odd or mean harm; the registry is one that says what the test wants."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_server import errors
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_model
from modelendpoint_server.artifact.source import Access
from support import model_zoo
from support.emulators import find_go_tool, free_port, running
from support.faulty_web import FaultyWeb, Request, faulty_web
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0])
TITLE, UNPACK = "org.opencontainers.image.title", "io.deis.oras.content.unpack"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


def fetch(uri: str, folder: Path, *, credentials: Mapping[str, str] | None = None) -> Artifact:
    return fetch_model(
        uri,
        access=Access(
            credentials=credentials or {},
            pvc_dir=folder,
            configmap_dir=folder,
            stall_seconds=2,
            timeout_seconds=10,
            refused_networks=(),
        ),
        bounds=Bounds(max_bytes=10**6, max_files=9, max_unpack_ratio=100, timeout_seconds=10, min_bytes_per_second=0),
        model_dir=folder / "models",
        sha256="",
    )


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(data: bytes, title: str | None = None, **changes: Any) -> dict[str, Any]:
    annotations = {TITLE: title} if title is not None else {}
    described = {"mediaType": "application/octet-stream", "digest": digest_of(data), "size": len(data)}
    return {**described, "annotations": annotations, **changes}


def tar_of(*members: tuple[str, bytes, bytes, str]) -> bytes:
    """Pack members: name, type, content, target of the link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, kind, data, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@contextmanager
def registry(manifest: Any, *blobs: bytes, manifests: Mapping[str, Any] | None = None) -> Iterator[FaultyWeb]:
    """Serve a manifest under every name, others by their names, and the blobs by their digests."""
    kept = {digest_of(blob): blob for blob in blobs}

    def handle(request: Request) -> None:
        name = request.path.rpartition("/")[2]
        if "/manifests/" in request.path:
            document = (manifests or {}).get(name, manifest)
            request.answer(document if isinstance(document, bytes) else json.dumps(document).encode())
        elif name in kept:
            request.answer(kept[name])
        else:
            request.answer(b"", status=404)

    with faulty_web(handle) as web:
        yield web


def uri_of(web: FaultyWeb) -> str:
    return f"oci://127.0.0.1:{web.port}/models/churn:1"


@pytest.mark.parametrize(
    "members",
    [
        [("model.onnx", tarfile.SYMTYPE, b"", "/etc/passwd")],
        [("model.onnx", tarfile.REGTYPE, LINEAR.data, ""), ("w.bin", tarfile.SYMTYPE, b"", "model.onnx")],
        [("model.onnx", tarfile.REGTYPE, LINEAR.data, ""), ("w.bin", tarfile.LNKTYPE, b"", "model.onnx")],
        [("a", tarfile.SYMTYPE, b"", "/tmp"), ("a/model.onnx", tarfile.REGTYPE, LINEAR.data, "")],
        [("../model.onnx", tarfile.REGTYPE, LINEAR.data, "")],
        [("model.onnx", tarfile.REGTYPE, LINEAR.data, ""), ("pipe", tarfile.FIFOTYPE, b"", "")],
    ],
)
@pytest.mark.parametrize("as_folder", [False, True], ids=["an image's layer", "a folder that oras packed"])
def test_a_layer_with_links_is_refused(tmp_path: Path, members: list[Any], as_folder: bool) -> None:
    data = tar_of(*members)
    packed = layer(data, "model", mediaType=TAR) if as_folder else layer(data, mediaType=TAR)
    if as_folder:
        packed["annotations"][UNPACK] = "true"
    with registry({"layers": [packed]}, data) as web, pytest.raises(errors.ModelUnsafe):
        fetch(uri_of(web), tmp_path)
    assert not (tmp_path / "models" / "model.onnx").exists()


@pytest.mark.parametrize("title", ["../model.onnx", "/model.onnx", "a/../../b.onnx", "", "a\\b.onnx", "a\nb.onnx", "."])
def test_a_title_that_leads_elsewhere_is_refused(tmp_path: Path, title: str) -> None:
    with registry({"layers": [layer(LINEAR.data, title)]}, LINEAR.data) as web, pytest.raises(errors.ModelUnsafe):
        fetch(uri_of(web), tmp_path)


def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    other = b"other"
    manifest = {"layers": [layer(LINEAR.data, "model.onnx"), layer(other, "model.onnx")]}
    with registry(manifest, LINEAR.data, other) as web, pytest.raises(errors.ModelError):
        fetch(uri_of(web), tmp_path)


def test_bytes_that_are_not_those_of_the_digest_are_refused(tmp_path: Path) -> None:
    described = layer(LINEAR.data, "model.onnx")

    def handle(request: Request) -> None:
        is_manifest = "/manifests/" in request.path
        request.answer(json.dumps({"layers": [described]}).encode() if is_manifest else b"x" * len(LINEAR.data))

    with faulty_web(handle) as web, pytest.raises(errors.StoreUnavailable, match="other bytes"):
        fetch(uri_of(web), tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"layers": []},
        {"layers": "x"},
        {"layers": [{"digest": "md5:1"}]},
        {"layers": [{"digest": "sha256:../../etc/passwd"}]},
        {"layers": ["x"]},
        {"layers": [None]},
        {"layers": [layer(LINEAR.data, "model.onnx", annotations="x")]},
        {"layers": [layer(LINEAR.data, "model.onnx", size="x")]},
        {"layers": [layer(LINEAR.data, "model.onnx", size=-1)]},
        {"layers": [layer(LINEAR.data, "model.onnx", size=10**12)]},
        {"manifests": []},
        {"manifests": "x"},
        {"manifests": [{}]},
        {"manifests": [{"digest": "../../other:1"}]},
        {"manifests": [{"digest": "sha256:" + "a" * 64}]},
        [],
        b"no JSON",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=lambda manifest: str(manifest)[:60],
)
def test_an_odd_manifest_is_refused_with_a_reason(tmp_path: Path, manifest: Any) -> None:
    with registry(manifest, LINEAR.data) as web, pytest.raises(errors.ModelError) as caught:
        fetch(uri_of(web), tmp_path)
    assert str(caught.value).endswith(".")
    assert all("/etc/passwd" not in path and "other" not in path for path, _ in web.seen)


def test_an_index_leads_to_its_first_manifest(tmp_path: Path) -> None:
    digest = "sha256:" + "b" * 64
    inner = {"layers": [layer(LINEAR.data, "model.onnx")]}
    with registry({"manifests": [{"digest": digest}]}, LINEAR.data, manifests={digest: inner}) as web:
        assert fetch(uri_of(web), tmp_path).sha256 == LINEAR.sha256


def test_weights_in_a_layer_of_their_own_are_found(tmp_path: Path) -> None:
    model, weights = model_zoo.with_external_data("w.bin"), b"\0" * 12
    with registry({"layers": [layer(model, "model.onnx"), layer(weights, "w.bin")]}, model, weights) as web:
        artifact = fetch(uri_of(web), tmp_path)
    assert sorted(path.name for path in artifact.model_path.parent.iterdir()) == ["model.onnx", "w.bin"]


@pytest.mark.emulator
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_what_a_real_client_makes_of_a_folder_with_a_link_is_refused(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    port = free_port()
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "model.onnx").write_bytes(model_zoo.with_external_data("w.bin"))
    (tmp_path / "weights").write_bytes(b"\0" * 12)
    link(tmp_path / "files" / "w.bin", tmp_path / "weights")
    command = [str(find_go_tool("registry")), "serve", str(tmp_path / "config.yml")]
    with running(command, port, log=tmp_path / "log"):
        push = [str(find_go_tool("oras")), "push", "--plain-http", f"127.0.0.1:{port}/models/churn:1", "files"]
        subprocess.run(push, cwd=tmp_path, check=True, capture_output=True)
        if link is Path.hardlink_to:
            # Packed, it is a file like any other.
            assert fetch(f"oci://127.0.0.1:{port}/models/churn:1", tmp_path).size > 12
        else:
            with pytest.raises(errors.ModelUnsafe, match="no plain file"):
                fetch(f"oci://127.0.0.1:{port}/models/churn:1", tmp_path)

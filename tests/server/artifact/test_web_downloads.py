"""Downloads over HTTP from servers that misbehave, and from a hub that speaks like Hugging Face's."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelendpoint_server import errors
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_model
from modelendpoint_server.artifact.source import Access
from support.faulty_web import Request, faulty_web
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0])
HALF = len(LINEAR.data) // 2


def fetch(uri: str, folder: Path, credentials: Mapping[str, str] | None = None, **changes: float) -> Artifact:
    limits = {"max_bytes": 10_000_000, "timeout_seconds": 20.0, "min_bytes_per_second": 0, **changes}
    return fetch_model(
        uri,
        access=Access(
            credentials=credentials or {},
            pvc_dir=folder,
            configmap_dir=folder,
            stall_seconds=0.3,
            timeout_seconds=20,
            # The servers of these tests are on loopback.
            refused_networks=(),
        ),
        bounds=Bounds(
            max_bytes=int(limits["max_bytes"]),
            max_files=10,
            max_unpack_ratio=10,
            timeout_seconds=limits["timeout_seconds"],
            min_bytes_per_second=int(limits["min_bytes_per_second"]),
        ),
        model_dir=folder / "models",
        sha256="",
    )


def test_a_model_is_fetched(tmp_path: Path) -> None:
    with faulty_web(lambda request: request.answer(LINEAR.data)) as web:
        assert fetch(web.url(), tmp_path).sha256 == LINEAR.sha256


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def handle(request: Request) -> None:
        if request.offset:
            request.answer(LINEAR.data[request.offset :], status=206)
        else:
            request.answer(LINEAR.data[:HALF], length=len(LINEAR.data))

    with faulty_web(handle) as web:
        assert fetch(web.url(), tmp_path).sha256 == LINEAR.sha256
        assert [headers.get("range") for _, headers in web.seen] == [None, f"bytes={HALF}-"]


def test_a_file_that_is_another_one_by_now_is_fetched_from_its_beginning(tmp_path: Path) -> None:
    whole = iter([False, True, True])

    def handle(request: Request) -> None:
        if next(whole):
            request.answer(LINEAR.data, ETag='"second"')
        else:
            request.answer(b"x" * HALF, length=len(LINEAR.data), ETag='"first"')

    with faulty_web(handle) as web:
        assert fetch(web.url(), tmp_path).sha256 == LINEAR.sha256
        assert web.seen[1][1]["range"] == f"bytes={HALF}-"
        assert web.seen[1][1]["if-range"] == '"first"'


def test_a_server_without_ranges_is_asked_for_the_whole_file_again(tmp_path: Path) -> None:
    tries = iter([True, False, False])

    def handle(request: Request) -> None:
        breaks = next(tries)
        request.answer(LINEAR.data[:HALF] if breaks else LINEAR.data, length=len(LINEAR.data))

    with faulty_web(handle) as web:
        assert fetch(web.url(), tmp_path).sha256 == LINEAR.sha256
        assert len(web.seen) == 3


def test_a_server_that_always_breaks_off_is_given_up(tmp_path: Path) -> None:
    with faulty_web(lambda request: request.answer(b"", length=100)) as web:
        with pytest.raises(errors.StoreUnavailable, match="tried again"):
            fetch(web.url(), tmp_path)
        assert len(web.seen) == 3


def test_a_server_that_stalls_is_given_up(tmp_path: Path) -> None:
    finished = threading.Event()

    def handle(request: Request) -> None:
        request.answer(b"x", length=100)
        finished.wait(5)

    with faulty_web(handle) as web, pytest.raises(errors.StoreUnavailable):
        try:
            fetch(web.url(), tmp_path)
        finally:
            finished.set()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, errors.ModelNotFound),
        (410, errors.ModelNotFound),
        (401, errors.ModelForbidden),
        (403, errors.ModelForbidden),
        (429, errors.StoreUnavailable),
        (500, errors.StoreUnavailable),
        (503, errors.StoreUnavailable),
    ],
)
def test_a_refusal_is_told_apart_by_its_status(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    with faulty_web(lambda request: request.answer(b"the store's own words", status=status)) as web:
        with pytest.raises(kind) as caught:
            fetch(web.url("model.onnx?signature=hidden"), tmp_path)
        text = str(caught.value)
        assert web.url() in text
        assert "hidden" not in text and "own words" not in text


def test_nobody_at_the_address_is_unavailable(tmp_path: Path) -> None:
    with faulty_web(lambda request: None) as web:
        url = web.url()
    with pytest.raises(errors.StoreUnavailable, match="Connection refused"):
        fetch(url, tmp_path)


def test_an_endless_file_is_too_large(tmp_path: Path) -> None:
    with faulty_web(lambda request: request.answer(b"x" * 3_000_000)) as web, pytest.raises(errors.ModelTooLarge):
        fetch(web.url(), tmp_path, max_bytes=1_000_000)


def test_credentials_go_to_the_store_and_not_where_it_redirects_to(tmp_path: Path) -> None:
    with faulty_web(lambda request: request.answer(LINEAR.data)) as other:

        def handle(request: Request) -> None:
            # Another name for the same address is another host.
            request.answer(b"", status=302, Location=other.url(host="localhost"))

        with faulty_web(handle) as web:
            assert fetch(web.url(), tmp_path, {"AUTHORIZATION": "Bearer t"}).sha256 == LINEAR.sha256
            assert web.seen[0][1]["authorization"] == "Bearer t"
        assert "authorization" not in other.seen[0][1]


def test_a_redirect_in_circles_is_unavailable(tmp_path: Path) -> None:
    def handle(request: Request) -> None:
        request.answer(b"", status=302, Location=request.path)

    with faulty_web(handle) as web, pytest.raises(errors.StoreUnavailable):
        fetch(web.url(), tmp_path)


# ── the hub ───────────────────────────────────────────────────────────────────────────────────────────────────────────

TREE = {
    "onnx": [
        {"type": "file", "path": "onnx/model.onnx", "size": len(LINEAR.data), "lfs": {"oid": LINEAR.sha256}},
        {"type": "file", "path": "onnx/config.json", "size": 2},
    ],
    "": [{"type": "directory", "path": "onnx", "size": 0}],
}


def hub(request: Request) -> None:
    """Answer as the hub's documented API does."""
    path, _, _ = request.path.partition("?")
    if request.header("Authorization") != "Bearer token":
        request.answer(b"", status=401)
    elif path.startswith("/api/models/org/repo/tree/v1"):
        folder = path.removeprefix("/api/models/org/repo/tree/v1").strip("/")
        request.answer(json.dumps(TREE[folder]).encode()) if folder in TREE else request.answer(b"", status=404)
    elif path == "/org/repo/resolve/v1/onnx/model.onnx":
        request.answer(LINEAR.data)
    elif path == "/org/repo/resolve/v1/onnx/config.json":
        request.answer(b"{}")
    else:
        request.answer(b"", status=404)


@pytest.mark.parametrize(("path", "files"), [("onnx/model.onnx", 1), ("onnx", 2)])
def test_a_file_and_a_folder_come_from_the_hub(tmp_path: Path, path: str, files: int) -> None:
    with faulty_web(hub) as web:
        credentials = {"HF_TOKEN": "token", "HF_ENDPOINT": web.url("")}
        artifact = fetch(f"hf://org/repo@v1/{path}", tmp_path, credentials)
    assert len(list(artifact.model_path.parent.iterdir())) == files


def test_what_the_hub_does_not_have_is_not_found(tmp_path: Path) -> None:
    with faulty_web(hub) as web:
        for uri in ("hf://org/repo@v1/onnx/other.onnx", "hf://org/repo@v2/onnx/model.onnx"):
            with pytest.raises(errors.ModelNotFound):
                fetch(uri, tmp_path, {"HF_TOKEN": "token", "HF_ENDPOINT": web.url("")})


@pytest.mark.parametrize(
    "listing",
    [
        b"no JSON",
        b"[" * 100_000,
        b"{}",
        b"[1]",
        b"[{}]",
        b'[{"path": 1}]',
        b'[{"path": "onnx/model.onnx", "type": "file", "size": "x"}]',
        b'[{"path": "onnx/model.onnx", "type": "file", "size": -1}]',
        b'[{"path": "onnx/model.onnx", "type": "file", "lfs": "x"}]',
        b'[{"path": "onnx/model.onnx", "type": "file", "lfs": {"oid": 1}}]',
    ],
)
def test_a_mirror_of_the_hub_may_send_anything(tmp_path: Path, listing: bytes) -> None:
    with faulty_web(lambda request: request.answer(listing)) as web, pytest.raises(errors.StoreUnavailable):
        fetch("hf://org/repo@v1/onnx/model.onnx", tmp_path, {"HF_ENDPOINT": web.url("")})


def test_the_hub_wants_a_token(tmp_path: Path) -> None:
    with faulty_web(hub) as web, pytest.raises(errors.ModelForbidden):
        fetch("hf://org/repo@v1/onnx", tmp_path, {"HF_ENDPOINT": web.url("")})


def test_other_bytes_than_the_hub_lists_are_refused(tmp_path: Path) -> None:
    def handle(request: Request) -> None:
        request.answer(b"x" * len(LINEAR.data)) if "/resolve/" in request.path else hub(request)

    with faulty_web(handle) as web, pytest.raises(errors.StoreUnavailable, match="other bytes"):
        fetch("hf://org/repo@v1/onnx/model.onnx", tmp_path, {"HF_TOKEN": "token", "HF_ENDPOINT": web.url("")})


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("model.onnx", "starts with nothing"),
        ("ftp://host/model.onnx", "starts with ftp"),
        ("hf:@/org/repo@v1/a/b.onnx", "characters that can't be seen"),
        ("s3:\n//bucket/model.onnx", "characters that can't be seen"),
        ("s3://", "nothing behind s3"),
        ("s3://bucket", "has no path"),
        ("s3://bucket/a/../b", "in its path"),
        ("hf://org/repo", "incomplete"),
        ("oci://registry/Upper:1", "incomplete"),
        ("https://[bad/model.onnx", "can't be read"),
        ("https://user:password@host/model.onnx", "has a user in it"),
    ],
)
def test_a_uri_that_is_none_says_what_to_write(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(errors.InvalidUri, match=words):
        fetch(uri, tmp_path)

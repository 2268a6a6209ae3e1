"""A model that is to blame itself is not downloaded again and again, and a new one at the same place is noticed."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_server import errors, lifecycle
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.fetch import ModelFetcher
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.report import State
from modelendpoint_server.service import Service
from modelendpoint_server.worker import build_service
from support import model_zoo
from support.faulty_web import FaultyWeb, Request, faulty_web
from support.onnx_models import NO_MODEL, linear_model
from support.served import settings_for

LINEAR, OTHER = linear_model([1.0, 2.0]), linear_model([3.0, 4.0])


@dataclasses.dataclass
class Store:
    """What the web server has."""

    data: bytes
    headers: dict[str, str]
    sent: int = 0
    """How often all of it was sent and taken."""

    def handle(self, request: Request) -> None:
        request.answer(self.data, **self.headers)
        self.sent += 1


def access(folder: Path) -> Access:
    return Access(
        credentials={}, pvc_dir=folder, configmap_dir=folder, stall_seconds=1, timeout_seconds=5, refused_networks=()
    )


def fetcher(uri: str, folder: Path, *, sha256: str = "", max_bytes: int = 10**6) -> ModelFetcher:
    bounds = Bounds(max_bytes=max_bytes, max_files=9, max_unpack_ratio=9, timeout_seconds=5, min_bytes_per_second=0)
    return ModelFetcher(uri, bounds=bounds, model_dir=folder / "models", sha256=sha256)


@pytest.mark.parametrize("name", ["ETag", "Last-Modified"])
def test_bytes_that_are_no_model_are_refused_again_until_there_are_others(tmp_path: Path, name: str) -> None:
    store = Store(NO_MODEL, {name: '"1"'})
    with faulty_web(store.handle) as web:
        model = fetcher(web.url(), tmp_path)
        for _ in range(3):
            with pytest.raises(errors.ModelInvalid):
                model.fetch(access(tmp_path))
            assert not model.has_changed(access(tmp_path))
        store.data, store.headers = LINEAR.data, {name: '"2"'}
        assert model.has_changed(access(tmp_path))
        assert model.fetch(access(tmp_path)).sha256 == LINEAR.sha256


def test_a_model_is_kept_and_replaced_by_a_new_one(tmp_path: Path) -> None:
    store = Store(LINEAR.data, {"ETag": '"1"'})
    with faulty_web(store.handle) as web:
        model = fetcher(web.url(), tmp_path)
        first = model.fetch(access(tmp_path))
        written = first.model_path.stat().st_mtime_ns
        assert model.fetch(access(tmp_path)) is first
        assert first.model_path.stat().st_mtime_ns == written
        store.data, store.headers = OTHER.data, {"ETag": '"2"'}
        second = model.fetch(access(tmp_path))
        assert second.sha256 == OTHER.sha256
        assert [entry.name for entry in (tmp_path / "models" / "sha256").iterdir()] == [OTHER.sha256]


def test_a_store_that_does_not_tell_is_asked_for_the_bytes_each_time(tmp_path: Path) -> None:
    store = Store(LINEAR.data, {})
    with faulty_web(store.handle) as web:
        model = fetcher(web.url(), tmp_path, sha256="0" * 64)
        for _ in range(2):
            with pytest.raises(errors.DigestMismatch):
                model.fetch(access(tmp_path))
        assert not model.has_changed(access(tmp_path))
        assert len(web.seen) == 2


def test_what_is_not_the_bytes_fault_is_tried_in_full_again(tmp_path: Path) -> None:
    store = Store(LINEAR.data, {"ETag": '"1"'})
    with faulty_web(store.handle) as web:
        model = fetcher(web.url(), tmp_path, max_bytes=10)
        with pytest.raises(errors.ModelTooLarge):
            model.fetch(access(tmp_path))
        assert not model.has_changed(access(tmp_path))


def test_a_changed_file_of_a_folder_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model_zoo.with_external_data("w.bin"))
    model = fetcher(f"file://{folder}", tmp_path)
    with pytest.raises(errors.ModelInvalid, match="not there"):
        model.fetch(access(tmp_path))
    assert not model.has_changed(access(tmp_path))
    (folder / "w.bin").write_bytes(b"\0" * 12)
    assert model.has_changed(access(tmp_path))
    assert model.fetch(access(tmp_path)).size > 12


# ── the process as a whole ────────────────────────────────────────────────────────────────────────────────────────────


def started(web: FaultyWeb, folder: Path, **changes: Any) -> Service:
    settings = settings_for(web.url(), folder, refused_networks=(), **changes)
    service = build_service(settings, cores=1, memory=2**30)
    service.lifecycle.start()
    return service


def until(service: Service, state: State, *, seconds: float = 20) -> float | None:
    """Wait for a state; return after how many seconds the server says it tries again."""
    ends = time.monotonic() + seconds
    while (report := service.lifecycle.report()).state is not state:
        assert time.monotonic() < ends, report
        time.sleep(0.01)
    return report.retry_after_seconds


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_LOOK_SECONDS", 0.02)


@pytest.mark.usefixtures("looking_often")
def test_a_model_that_is_put_right_is_served_before_the_wait_is_over(tmp_path: Path) -> None:
    store = Store(NO_MODEL, {"ETag": '"1"'})
    with faulty_web(store.handle) as web:
        service = started(web, tmp_path)
        assert until(service, State.FAILED) == 60
        store.data, store.headers = LINEAR.data, {"ETag": '"2"'}
        until(service, State.READY)
        service.lifecycle.stop()


@pytest.mark.usefixtures("looking_often")
def test_a_digest_that_is_put_right_is_served_without_a_second_download(tmp_path: Path) -> None:
    store = Store(LINEAR.data, {"ETag": '"1"'})
    (tmp_path / "revision").mkdir()
    (tmp_path / "revision" / "sha256").write_text("0" * 64)
    with faulty_web(store.handle) as web:
        service = started(web, tmp_path)
        until(service, State.FAILED)
        (path,) = (tmp_path / "models" / "sha256").glob("*/model.onnx")
        written = path.stat().st_mtime_ns
        (tmp_path / "revision" / "sha256").write_text(LINEAR.sha256)
        until(service, State.READY)
        assert path.stat().st_mtime_ns == written
        service.lifecycle.stop()


def test_the_same_failure_is_waited_for_ever_longer_up_to_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = build_service(settings_for("file:///nowhere/model.onnx", tmp_path), cores=1, memory=2**30)
    told: list[float | None] = []
    monkeypatch.setattr(service.lifecycle._stop, "wait", lambda seconds: True)

    def try_() -> errors.ModelError | None:
        told.append(service.lifecycle.report().retry_after_seconds)
        kinds = [errors.ModelInvalid] * 6 + [errors.StoreUnavailable] * 7 + [errors.DigestMismatch]
        return kinds[len(told) - 1]("x") if len(told) <= len(kinds) else None

    monkeypatch.setattr(service.lifecycle, "_try", try_)
    service.lifecycle._run()
    assert told[1:] == [60, 120, 240, 480, 600, 600, 1, 2, 4, 8, 16, 30, 30, 60]

"""Models that mean harm or are broken: each is refused with a reason, before ONNX Runtime sees it.

ONNX Runtime's own checks are not asked: nothing here loads a model.
"""

import contextlib
import io
import os
import random
import resource
import shutil
import signal
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_server import errors
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.external_data import check_external_data
from modelendpoint_server.artifact.fetch import fetch_model
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.onnx_file import read_onnx
from support import model_zoo
from support.onnx_models import NO_MODEL, linear_model

WEIGHTS = b"\0" * 12
LINEAR = linear_model([1.0, 2.0])


def fetch(path: Path, folder: Path, *, sha256: str = "", **changes: int) -> Artifact:
    bounds = {"max_bytes": 10_000_000, "max_files": 20, "max_unpack_ratio": 100, "min_bytes_per_second": 0, **changes}
    return fetch_model(
        f"file://{path}",
        access=Access(credentials={}, pvc_dir=folder, configmap_dir=folder, stall_seconds=5, timeout_seconds=20),
        bounds=Bounds(timeout_seconds=20, **bounds),
        model_dir=folder / "models",
        sha256=sha256,
    )


def model_folder(tmp_path: Path, location: str = "weights.bin", **changes: int) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model_zoo.with_external_data(location, **changes))
    return folder


def test_a_folder_with_external_data_is_taken(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "weights.bin").write_bytes(WEIGHTS)
    artifact = fetch(folder, tmp_path)
    assert artifact.model_path == tmp_path / "models" / "sha256" / artifact.sha256 / "model.onnx"
    assert (artifact.model_path.parent / "weights.bin").read_bytes() == WEIGHTS


LOCATIONS = [
    "../weights.bin",
    "../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "sub/../../weights.bin",
    "./weights.bin",
    "sub/./weights.bin",
    "..\\weights.bin",
    "C:\\weights.bin",
    "/proc/self/environ",
    "/dev/zero",
    "*/_ORT_MEM_ADDR_/*",
    "",
    " ",
    "weights.bin ",
    "weights.bin\0.txt",
    "weights\n.bin",
    "\u202eweights.bin",
    "w" * 5000,
    "missing.bin",
    "sub",
    "file:///etc/passwd",
    "~/weights.bin",
]


@pytest.mark.parametrize("location", LOCATIONS)
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = model_folder(tmp_path, location)
    (folder / "weights.bin").write_bytes(WEIGHTS)
    (folder / "sub").mkdir()
    (folder / "sub" / "other.bin").write_bytes(WEIGHTS)
    (tmp_path / "weights.bin").write_bytes(WEIGHTS)
    with pytest.raises((errors.ModelUnsafe, errors.ModelInvalid)):
        fetch(folder, tmp_path)


@pytest.mark.parametrize(("rows", "offset"), [(4, 0), (3, 1), (3, 10**12)])
def test_weights_that_are_too_short_are_refused(tmp_path: Path, rows: int, offset: int) -> None:
    folder = model_folder(tmp_path, rows=rows, offset=offset)
    (folder / "weights.bin").write_bytes(WEIGHTS)
    with pytest.raises(errors.ModelInvalid, match="are needed"):
        fetch(folder, tmp_path)


def test_a_negative_offset_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, offset=-4)
    (folder / "weights.bin").write_bytes(WEIGHTS)
    with pytest.raises(errors.ModelInvalid, match="'-4' where a number belongs"):
        fetch(folder, tmp_path)


def replace_by_symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def replace_by_hard_link(path: Path) -> None:
    other = path.parent.parent / "secret"
    other.write_bytes(WEIGHTS)
    os.link(other, path)


def replace_by_pipe(path: Path) -> None:
    os.mkfifo(path)


def replace_by_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("replace", [replace_by_symlink, replace_by_hard_link, replace_by_pipe, replace_by_folder])
def test_weights_that_are_no_file_of_their_own_are_refused_even_if_listed(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    folder = model_folder(tmp_path)
    replace(folder / "weights.bin")
    facts = read_onnx(folder / "model.onnx")
    with pytest.raises(errors.ModelUnsafe, match="no file of their own"):
        check_external_data(
            facts, folder=folder, model_path="model.onnx", listed=frozenset({"model.onnx", "weights.bin"})
        )


def test_a_link_out_of_the_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pvc" / "claim").mkdir(parents=True)
    (tmp_path / "secret.onnx").write_bytes(LINEAR.data)
    (tmp_path / "pvc" / "claim" / "model.onnx").symlink_to(tmp_path / "secret.onnx")
    access = Access(
        credentials={}, pvc_dir=tmp_path / "pvc", configmap_dir=tmp_path, stall_seconds=5, timeout_seconds=5
    )
    bounds = Bounds(max_bytes=10_000, max_files=5, max_unpack_ratio=10, timeout_seconds=5, min_bytes_per_second=0)
    with pytest.raises(errors.ModelUnsafe, match="link out of its volume"):
        fetch_model("pvc://claim/model.onnx", access=access, bounds=bounds, model_dir=tmp_path / "m", sha256="")


def test_a_pipe_in_a_volume_is_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    os.mkfifo(folder / "weights.bin")
    with pytest.raises(errors.ModelUnsafe, match="no regular file"):
        fetch(folder, tmp_path)


def test_references_in_subgraphs_are_found(tmp_path: Path) -> None:
    from onnx import helper, load_model_from_string

    inner = load_model_from_string(model_zoo.with_external_data("/etc/passwd")).graph
    node = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    path = tmp_path / "model.onnx"
    path.write_bytes(model_zoo.build([node], [("c", "BOOL", ())], [("z", "FP32", (None,))]))
    with pytest.raises(errors.ModelUnsafe):
        fetch(path, tmp_path)


def external(name: str = "w") -> Any:
    """A tensor whose values are said to be in /etc/passwd."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def hide_in_constant(model: Any) -> None:
    from onnx import helper

    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def hide_in_list_of_tensors(model: Any) -> None:
    from onnx import AttributeProto

    node = model.graph.node.add(op_type="Custom", output=["c"])
    node.attribute.add(name="many", type=AttributeProto.TENSORS).tensors.append(external())


def hide_in_sparse_values(model: Any) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(external())


def hide_in_sparse_indices(model: Any) -> None:
    model.graph.sparse_initializer.add().indices.CopyFrom(external())


def hide_in_sparse_attribute(model: Any) -> None:
    from onnx import AttributeProto

    node = model.graph.node.add(op_type="Constant", output=["c"])
    node.attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSOR).sparse_tensor.values.CopyFrom(external())


def hide_in_function(model: Any) -> None:
    from onnx import helper

    function = model.functions.add(name="f", domain="local")
    function.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def hide_in_function_default(model: Any) -> None:
    from onnx import AttributeProto

    attribute = model.functions.add(name="f", domain="local").attribute_proto.add(name="a", type=AttributeProto.TENSOR)
    attribute.t.CopyFrom(external())


def hide_in_training(model: Any) -> None:
    model.training_info.add().initialization.initializer.append(external())


def hide_in_training_algorithm(model: Any) -> None:
    model.training_info.add().algorithm.initializer.append(external())


def hide_in_list_of_graphs(model: Any) -> None:
    from onnx import AttributeProto

    attribute = model.graph.node.add(op_type="Custom").attribute.add(name="g", type=AttributeProto.GRAPHS)
    attribute.graphs.add(name="inner").initializer.append(external())


def hide_behind_a_second_location(model: Any) -> None:
    tensor = external()
    tensor.external_data.insert(0, type(tensor.external_data[0])(key="location", value="model.onnx"))
    model.graph.initializer.append(tensor)


def hide_without_saying_external(model: Any) -> None:
    tensor = external()
    tensor.data_location = 0
    model.graph.initializer.append(tensor)


HIDING_PLACES = [value for name, value in globals().copy().items() if name.startswith("hide_")]


@pytest.mark.parametrize("hide", HIDING_PLACES)
def test_a_reference_is_found_wherever_it_hides(tmp_path: Path, hide: Callable[[Any], None]) -> None:
    from onnx import load_model_from_string

    model = load_model_from_string(LINEAR.data)
    hide(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(errors.ModelUnsafe, match="leads out of its folder"):
        fetch(path, tmp_path)


def test_a_field_that_comes_twice_hides_nothing(tmp_path: Path) -> None:
    """A reader merges two graphs of one model into one; both are looked at."""
    path = tmp_path / "model.onnx"
    path.write_bytes(LINEAR.data + model_zoo.with_external_data("/etc/passwd"))
    with pytest.raises(errors.ModelUnsafe):
        fetch(path, tmp_path)


# ── archives ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar", ".zip"])
def test_an_archive_is_unpacked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    files = {"churn/model.onnx": model_zoo.with_external_data("w.bin"), "churn/w.bin": WEIGHTS}
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in files.items():
                zipped.writestr(name, data)
    else:
        tar_of(path, *((member(f"./{name}"), data) for name, data in files.items()))
    artifact = fetch(path, tmp_path)
    assert sorted(p.name for p in artifact.model_path.parent.iterdir()) == ["model.onnx", "w.bin"]


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil.onnx"),
        member("/evil.onnx"),
        member("a/../../evil.onnx"),
        member("link.onnx", tarfile.SYMTYPE, "/etc/passwd"),
        member("link.onnx", tarfile.LNKTYPE, "model.onnx"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
        member("block", tarfile.BLKTYPE),
        member("model.onnx"),
        member("back\\slash"),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_an_archive_with_anything_but_plain_files_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    path = tar_of(tmp_path / "model.tar.gz", (member("model.onnx"), LINEAR.data), (bad, b""))
    with pytest.raises(errors.ModelUnsafe):
        fetch(path, tmp_path)
    assert not (tmp_path / "evil.onnx").exists()


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    info = zipfile.ZipInfo("model.onnx")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(errors.ModelUnsafe):
        fetch(path, tmp_path)


def test_an_archive_bomb_is_too_large(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "model.tar.gz", (member("model.onnx"), b"\0" * 5_000_000))
    assert path.stat().st_size < 50_000
    with pytest.raises(errors.ModelTooLarge, match="grows too much"):
        fetch(path, tmp_path)


def test_an_archive_with_too_many_files_is_too_large(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "model.tar.gz", *((member(f"f{index}"), b"x") for index in range(30)))
    with pytest.raises(errors.ModelTooLarge, match="too many files"):
        fetch(path, tmp_path)


@pytest.mark.parametrize("name", ["model.tar.gz", "model.tar", "model.zip"])
def test_a_broken_archive_is_invalid(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" + b"broken" * 200)
    with pytest.raises(errors.ModelInvalid):
        fetch(tmp_path / name, tmp_path)


# ── bytes that are no model ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("data", [b"", NO_MODEL, b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 50])
def test_bytes_that_are_no_model_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(errors.ModelInvalid, match="Upload it anew"):
        fetch(path, tmp_path)


def test_a_thousand_flipped_bits_are_a_thousand_other_models(tmp_path: Path) -> None:
    flips = random.Random(5)
    path = tmp_path / "model.onnx"
    for _ in range(1000):
        data = bytearray(LINEAR.data)
        data[flips.randrange(len(data))] ^= 1 << flips.randrange(8)
        path.write_bytes(data)
        with pytest.raises((errors.DigestMismatch, errors.ModelInvalid)):
            fetch(path, tmp_path, sha256=LINEAR.sha256)
    assert not (tmp_path / "models" / "sha256").exists()


def test_a_deeply_nested_file_is_refused(tmp_path: Path) -> None:
    data = b""
    for _ in range(150):
        # Graph → Node → Attribute → Graph …
        for number in (6, 5, 1):
            data = bytes([number << 3 | 2]) + _varint(len(data)) + data
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a" + _varint(len(data)) + data)
    with pytest.raises(errors.ModelInvalid, match="nested too deeply"):
        fetch(path, tmp_path)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def test_a_model_over_the_limit_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LINEAR.data)
    with pytest.raises(errors.ModelTooLarge):
        fetch(path, tmp_path, max_bytes=100)


def test_a_model_that_does_not_fit_on_the_disk_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LINEAR.data)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(errors.ModelTooLarge, match="has room for 10"):
        fetch(path, tmp_path)


def test_a_disk_that_is_full_in_mid_download_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LINEAR.data * 200)
    with limited_files(len(LINEAR.data) * 100), pytest.raises(errors.ModelTooLarge, match="can't be written to disk"):
        fetch(path, tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


@contextlib.contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: writing more is an error, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize(
    "nested",
    [
        pytest.param(lambda data: zip_of({"inner.zip": zip_of({"model.onnx": data})}), id="an archive in an archive"),
        pytest.param(lambda data: zip_of({"notes.txt": b"x", "other.txt": b"y"}), id="an archive without a model"),
        pytest.param(lambda data: zip_of({}), id="an empty archive"),
        pytest.param(lambda data: zip_of({"model.onnx": data})[:-30], id="a cut archive"),
        pytest.param(lambda data: zip_of({"a/../model.onnx": data}), id="an archive with a way around"),
        pytest.param(
            lambda data: zip_of({"model.onnx/": b"", "model.onnx": data, "MODEL.onnx ": data}), id="odd names"
        ),
    ],
)
def test_an_odd_archive_is_refused_with_a_reason(tmp_path: Path, nested: Callable[[bytes], bytes]) -> None:
    (tmp_path / "model.zip").write_bytes(nested(LINEAR.data))
    with pytest.raises((errors.ModelInvalid, errors.ModelUnsafe)) as caught:
        fetch(tmp_path / "model.zip", tmp_path)
    assert str(caught.value).endswith(".")


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return out.getvalue()


def test_a_zip_that_lies_about_its_sizes_is_invalid(tmp_path: Path) -> None:
    data = bytearray(zip_of({"model.onnx": LINEAR.data}))
    # The directory at the end says how long the file is.
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (5).to_bytes(4, "little")
    (tmp_path / "model.zip").write_bytes(data)
    with pytest.raises(errors.ModelInvalid):
        fetch(tmp_path / "model.zip", tmp_path)


def test_a_folder_with_two_models_needs_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("a.onnx", "b.onnx"):
        (folder / name).write_bytes(LINEAR.data)
    with pytest.raises(errors.ModelInvalid, match=r"2 \.onnx files"):
        fetch(folder, tmp_path)
    (folder / "a.onnx").rename(folder / "model.onnx")
    assert fetch(folder, tmp_path).model_path.name == "model.onnx"


def test_what_a_killed_download_left_is_removed_once_its_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LINEAR.data)
    for name, age in (("incoming-old", 1000), ("incoming-new", 5)):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        then = path.stat().st_mtime - age
        os.utime(folder, (then, then))
    fetch(path, tmp_path)
    assert sorted(entry.name for entry in (tmp_path / "models").iterdir()) == ["incoming-new", "sha256"]


def test_nothing_is_left_behind_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(NO_MODEL)
    with pytest.raises(errors.ModelInvalid):
        fetch(path, tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


@given(st.data())
@settings(max_examples=500 * int(os.environ.get("MODELENDPOINT_FUZZ", "1")), deadline=None)
def test_damaged_bytes_are_a_model_or_invalid_and_nothing_else(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([LINEAR.data, model_zoo.with_external_data("w.bin"), model_zoo.endless()]))
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with tempfile.NamedTemporaryFile() as file:
        file.write(damaged)
        file.flush()
        with contextlib.suppress(errors.ModelInvalid):
            read_onnx(Path(file.name))

"""When an image is built again."""

from pathlib import Path

import pytest

from localcluster.folders import REPOSITORY
from localcluster.image_inputs import INPUTS, hash_inputs, read_inputs, read_version


def a_checkout(folder: Path) -> Path:
    (folder / "code" / "__pycache__").mkdir(parents=True)
    (folder / "code" / "a.py").write_text("a = 1\n")
    (folder / "code" / "__pycache__" / "a.pyc").write_bytes(b"\0")
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "other.txt").write_text("not asked for")
    return folder


def test_inputs_are_the_named_files_and_folders_without_compiled_code(tmp_path: Path) -> None:
    found = read_inputs(a_checkout(tmp_path), ["Dockerfile", "code"])
    assert found == {"Dockerfile": b"FROM scratch\n", "code/a.py": b"a = 1\n"}


def test_the_hash_follows_content_and_names_and_nothing_else(tmp_path: Path) -> None:
    checkout = a_checkout(tmp_path)
    before = hash_inputs(read_inputs(checkout, ["code"]))
    (checkout / "code" / "a.py").touch()
    (checkout / "other.txt").write_text("changed")
    assert hash_inputs(read_inputs(checkout, ["code"])) == before
    (checkout / "code" / "a.py").write_text("a = 2\n")
    changed = hash_inputs(read_inputs(checkout, ["code"]))
    (checkout / "code" / "a.py").rename(checkout / "code" / "b.py")
    assert len({before, changed, hash_inputs(read_inputs(checkout, ["code"]))}) == 3


@pytest.mark.parametrize("image", INPUTS)
def test_all_inputs_of_an_image_are_in_the_checkout(image: str) -> None:
    for path in INPUTS[image]:
        assert (REPOSITORY / path).exists(), path


def test_dockerfile_copies_nothing_that_is_no_input() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    copied = {line.split()[1].rstrip("/") for line in lines if line.startswith("COPY ") and "--from" not in line}
    assert copied
    assert copied <= {path for paths in INPUTS.values() for path in paths}


def test_the_tag_is_the_projects_version() -> None:
    assert read_version('[project]\nname = "x"\nversion = "1.2.3"\n') == "1.2.3"

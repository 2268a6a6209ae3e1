"""BatchPredictions as they are written, and as they are applied."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelendpoint.errors import CliError
from modelendpoint.local.batch_files import local_uri
from modelendpoint.local.copies import Copies
from modelendpoint.local.sources import Sources, read_sources


def write(folder: Path, name: str = "weekly", **spec: Any) -> Path:
    given = {"model": {"uri": "file://models/v1.onnx"}, "input": {"uri": "pvc://rows/a.csv"}, **spec}
    body = {"apiVersion": "modelendpoint.dev/v1alpha1", "kind": "BatchPrediction", "metadata": {"name": name}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**body, "spec": {"output": {"uri": "file://out/"}, **given}}))
    return path


def read(*paths: Path) -> Sources:
    return read_sources(paths, Copies(paths[0].parent / "state"))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file://rows.csv", "rows.csv"),
        ("file://./a/../rows.csv", "rows.csv"),
        ("pvc://claim/rows/", "claim/rows/"),
        ("file://dt=2026/*.csv", "dt%3D2026/*.csv"),
        ("file://my rows/größe 10%.csv", "my%20rows/gr%C3%B6%C3%9Fe%2010%25.csv"),
        ("file://{{ .Run }}/dt={{ .ScheduledDate }}/", "{{ .Run }}/dt%3D{{ .ScheduledDate }}/"),
    ],
)
def test_files_are_named_by_their_paths_and_patterns_and_placeholders_keep_their_meaning(
    tmp_path: Path, uri: str, path: str
) -> None:
    assert local_uri(uri, tmp_path) == f"pvc://local-files{tmp_path}/{path}"


@pytest.mark.parametrize(
    "uri", ["s3://rows/a.csv", "https://host/a.csv", "configmap://rows/a.csv", "file://", "rows.csv"]
)
def test_other_uris_stay(tmp_path: Path, uri: str) -> None:
    assert local_uri(uri, tmp_path) == uri


def test_no_file_is_copied(tmp_path: Path) -> None:
    (manifest,) = read(write(tmp_path, compareWith={"model": {"uri": "file://models/v2.onnx"}})).manifests
    here = f"pvc://local-files{tmp_path}"
    spec = manifest["spec"]
    assert spec["model"] == {"uri": f"{here}/models/v1.onnx"}
    assert spec["compareWith"]["model"] == {"uri": f"{here}/models/v2.onnx"}
    assert (spec["input"]["uri"], spec["output"]["uri"]) == (f"{here}/rows/a.csv", f"{here}/out/")
    assert not (tmp_path / "state").exists()


def test_what_an_api_server_would_refuse_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"weekly\.yaml:\d+: spec: Forbidden: must have either model or endpointRef"):
        read(write(tmp_path, endpointRef={"name": "churn"}))
    with pytest.raises(CliError, match=r"must not be inside input\.uri"):
        read(write(tmp_path, input={"uri": "file://data/"}, output={"uri": "file://data/out/"}))


def test_a_batch_prediction_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(CliError, match="BatchPrediction weekly is there twice"):
        read(path, path)


def test_what_is_different_here_is_said(tmp_path: Path) -> None:
    notes = read(write(tmp_path, resources={"limits": {"memory": "1Gi"}}, serviceAccountName="reader")).notes
    assert [note.partition(":")[0] for note in notes] == ["spec.resources", "spec.serviceAccountName", "pvc", "file"]


def test_without_the_workers_libraries_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelendpoint.local.batch_files.NEEDED", "no_such_package")
    with pytest.raises(CliError, match=r"BatchPrediction weekly needs .+ pip install 'modelendpoint\[batch\]'"):
        read(write(tmp_path))

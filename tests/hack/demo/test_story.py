"""What of the story can go wrong without a cluster: the edit of the YAML, and the plan of the load."""

import subprocess
from pathlib import Path

import yaml

from demo import story
from demo.story import Story
from demo.terminal import Terminal
from modelendpoint.load_rig import Answer, Judge, LoadPlan

ROOT = Path(__file__).parents[3]


def a_story(folder: Path) -> Story:
    terminal = Terminal(environment={"PATH": "/usr/bin:/bin"}, folder=ROOT)
    return Story(terminal=terminal, cluster="demo", kind=None, folder=folder)


def test_the_edit_of_the_example_changes_the_model_and_its_version_only() -> None:
    before = yaml.safe_load((ROOT / story.EXAMPLE).read_text())
    command = ["sed", story.TO_VERSION_2, story.EXAMPLE]
    after = yaml.safe_load(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    model = before["spec"]["model"]
    changed = {**model, "uri": "s3://models/wine/2/model.onnx", "version": "2"}
    assert after == {**before, "spec": {**before["spec"], "model": changed}}
    assert model["uri"] == "s3://models/wine/1/model.onnx"


def test_the_load_expects_of_each_version_what_scikit_learn_predicts(tmp_path: Path) -> None:
    tale = a_story(tmp_path)
    _, *versions = tale.trained
    plan: LoadPlan = tale.plan(count=10, rate=5)
    for version in versions:
        for row, (label, probabilities) in enumerate(zip(version.labels, version.probabilities, strict=True)):
            expected = plan.oracle[version.sha256][row]
            assert expected[0] == label
            assert max(abs(float(a) - b) for a, b in zip(expected[1:], probabilities, strict=True)) < 1e-5


def test_an_answer_of_the_other_version_would_be_seen(tmp_path: Path) -> None:
    tale = a_story(tmp_path)
    _, first, second = tale.trained
    plan = tale.plan(count=10, rate=5)
    judge = Judge(plan)
    for request in plan.requests:
        values = ",".join(map(repr, plan.oracle[first.sha256][request.row]))
        headers = {"content-type": "text/csv", "x-model-revision": "1", "x-model-sha256": first.sha256}
        assert judge.judge(request, Answer(status=200, headers=headers, body=values)) == ("1", first.sha256)
        assert plan.oracle[first.sha256][request.row] != plan.oracle[second.sha256][request.row]

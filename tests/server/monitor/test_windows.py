"""Samples counted in windows."""

import numpy as np
import pytest

from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.reference import Profile
from modelendpoint_server.monitor.sample import Column, Sample
from modelendpoint_server.monitor.windows import WindowRules, Windows
from support.clocks import Clock

RULES = WindowRules(seconds=60, minimum_rows=100)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> Windows:
    random = np.random.default_rng(1)
    builder = ProfileBuilder()
    builder.add({"x": random.normal(size=5000)}, {"x": random.normal(size=5000)}, rows=5000)
    profile = builder.build(model_sha256="ab" * 32)[0]
    return Windows(Profile.from_json(profile.as_json()), RULES, clock=clock)


def sample(values: Column, *, revision: str = "7", variant: str = "", **inputs: Column) -> Sample:
    return Sample(
        revision=revision,
        variant=variant,
        sha256="ab" * 32,
        time=0.0,
        request_id="r",
        rows=len(values),
        inputs={"x": values, **inputs},
        outputs={"x": values},
    )


def normal(rows: int, *, mean: float = 0.0) -> Column:
    return np.random.default_rng(2).normal(mean, size=rows)


def test_a_window_closes_when_it_has_both_its_seconds_and_its_rows(windows: Windows, clock: Clock) -> None:
    windows.add(sample(normal(150)))
    assert windows.verdicts() == {}
    clock.now += 60
    windows.report()
    assert windows.verdicts()[("7", "")].rows == 150
    windows.add(sample(normal(50)))
    clock.now += 600
    assert windows.report()[0]["window"] == {"startedAt": 1060.0, "rows": 50}
    windows.add(sample(normal(50)))
    arm = windows.report()[0]
    assert (arm["windows"], arm["drifted"], arm["window"]["rows"]) == (2, 0, 0)


def test_samples_of_one_row_are_counted_as_those_of_many(windows: Windows, clock: Clock) -> None:
    values = normal(700)
    for value in values:
        windows.add(sample(np.array([value])))
    windows.add(sample(values, revision="8"))
    clock.now += 60
    windows.report()
    one, other = windows.verdicts()[("7", "")], windows.verdicts()[("8", "")]
    assert [figures.psi for figures in one.verdict.figures] == [figures.psi for figures in other.verdict.figures]
    assert one.verdict.figures[0].mean == pytest.approx(values.mean())
    assert one.rows == 700


def test_revisions_and_variants_have_windows_of_their_own_and_drift_is_told_with_its_numbers(
    windows: Windows, clock: Clock
) -> None:
    windows.add(sample(normal(500)))
    windows.add(sample(normal(500, mean=1.0), variant="challenger"))
    clock.now += 61
    stable, challenger = windows.report()
    assert (stable["variant"], stable["drifted"], stable["last"]["findings"]) == ("", 0, [])
    assert (challenger["variant"], challenger["drifted"]) == ("challenger", 1)
    first = challenger["last"]["findings"][0]
    assert (first["kind"], first["column"]) == ("Distribution", "x")
    assert {finding["role"] for finding in challenger["last"]["findings"]} == {"Input", "Output"}
    assert first["psi"] > 0.5 and first["mean"] > 0.8 and first["pValue"] < 1e-9
    assert windows.reference()["rows"] == 5000


def test_columns_that_the_profile_does_not_know_are_named_and_harm_nothing(windows: Windows, clock: Clock) -> None:
    texts = np.empty(200, object)
    texts[:] = "a"
    windows.add(sample(normal(200), other=normal(200)))
    windows.add(sample(texts, revision="8"))
    clock.now += 60
    one, other = windows.report()
    assert (one["unknownColumns"], one["last"]["columns"]) == (["other"], 2)
    assert (other["unknownColumns"], other["last"]["columns"]) == (["output:x", "x"], 0)


def test_the_arm_without_samples_for_longest_is_forgotten(windows: Windows) -> None:
    for revision in range(20):
        windows.add(sample(normal(1), revision=str(revision)))
    known = [arm["revision"] for arm in windows.report()]
    assert known == [str(revision) for revision in range(4, 20)]

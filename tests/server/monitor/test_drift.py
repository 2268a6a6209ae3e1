"""One window against the profile."""

import numpy as np
import pytest

from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.drift import Kind, Thresholds, Verdict, judge
from modelendpoint_server.monitor.reference import Profile
from modelendpoint_server.monitor.sample import Column
from modelendpoint_server.monitor.series import series_of
from modelendpoint_server.monitor.sketches import sketch

ROWS = 1000


def rows_of(random: np.random.Generator, rows: int = ROWS) -> dict[str, Column]:
    plans = np.empty(rows, object)
    plans[:] = random.choice(["basic", "plus", "pro"], rows, p=[0.6, 0.3, 0.1])
    income = random.lognormal(10, 1, rows)
    income[random.random(rows) < 0.02] = np.nan
    return {"age": random.normal(40, 10, rows), "income": income, "level": random.integers(0, 5, rows), "plan": plans}


@pytest.fixture(scope="module")
def profile() -> Profile:
    columns = rows_of(np.random.default_rng(1), 20_000)
    builder = ProfileBuilder()
    builder.add(columns, {"score": columns["age"] / 100}, rows=20_000)
    return builder.build(model_sha256="ab" * 32)[0]


def window(profile: Profile, rows: dict[str, Column], *, alpha: float = 0.001) -> Verdict:
    series = series_of({**rows, "score": rows["age"] / 100}, profile.summarised)
    sketches = {name: sketch(profile.by_name[name], values) for name, values in series.items()}
    return judge(profile, sketches, Thresholds(), alpha=alpha)


def found(verdict: Verdict) -> set[tuple[Kind, str]]:
    return {(finding.kind, finding.figures.column) for finding in verdict.findings}


def test_rows_like_those_of_the_reference_have_no_finding(profile: Profile) -> None:
    verdict = window(profile, rows_of(np.random.default_rng(2)))
    assert verdict.findings == ()
    assert [figures.column for figures in verdict.figures] == ["age", "income", "level", "plan", "score"]
    age = verdict.figures[0]
    assert (age.rows, age.is_output, round(age.mean or 0), round(age.reference_mean or 0)) == (ROWS, False, 40, 40)
    assert age.psi < 0.05 < age.p_value


def test_a_mean_that_moved_by_half_a_deviation_is_found_in_input_and_output(profile: Profile) -> None:
    rows = rows_of(np.random.default_rng(2))
    rows["age"] = rows["age"] + 5
    verdict = window(profile, rows)
    assert {(Kind.DISTRIBUTION, "age"), (Kind.DISTRIBUTION, "score")} <= found(verdict)
    assert {finding.figures.column for finding in verdict.findings} == {"age", "score"}
    assert {finding.figures.is_output for finding in verdict.findings} == {False, True}


def test_missing_values_new_categories_other_units_and_constants_are_found(profile: Profile) -> None:
    random = np.random.default_rng(2)
    rows = rows_of(random)
    rows["income"][random.random(ROWS) < 0.1] = np.nan
    rows["plan"][random.random(ROWS) < 0.03] = "max"
    rows["age"] = rows["age"] * 12
    rows["level"] = np.full(ROWS, 3)
    assert found(window(profile, rows)) >= {
        (Kind.MISSING, "income"),
        (Kind.UNSEEN, "plan"),
        (Kind.OUT_OF_RANGE, "age"),
        (Kind.DISTRIBUTION, "age"),
        (Kind.CONSTANT, "level"),
    }


def test_the_strongest_finding_comes_first(profile: Profile) -> None:
    rows = rows_of(np.random.default_rng(2))
    rows["age"] = rows["age"] + 4
    rows["income"] = rows["income"] * 100
    verdict = window(profile, rows)
    assert verdict.findings[0].figures.column == "income"
    strengths = [finding.strength for finding in verdict.findings]
    assert strengths == sorted(strengths, reverse=True)


def test_an_effect_that_may_be_chance_is_no_finding_and_an_effect_that_does_not_matter_neither(
    profile: Profile,
) -> None:
    few = {name: column[:40] for name, column in rows_of(np.random.default_rng(3)).items()}
    assert max(figures.psi for figures in window(profile, few).figures) > 0.1
    assert window(profile, few).findings == ()
    many = rows_of(np.random.default_rng(3), 20_000)
    many["age"] = many["age"] + 1
    verdict = window(profile, many)
    assert next(figures for figures in verdict.figures if figures.column == "age").p_value < 1e-7
    assert verdict.findings == ()


def test_a_constant_of_the_reference_may_stay_one() -> None:
    builder = ProfileBuilder()
    builder.add({"country": np.ones(500)}, {}, rows=500)
    profile = builder.build(model_sha256="")[0]
    sketches = {"country": sketch(profile.by_name["country"], np.ones(1000))}
    assert judge(profile, sketches, Thresholds(), alpha=0.001).findings == ()


def test_a_value_that_nearly_all_rows_of_the_reference_have_may_be_in_all_of_a_window() -> None:
    builder = ProfileBuilder()
    builder.add({"flag": np.array([1.0] + [0.0] * 199)}, {}, rows=200)
    profile = builder.build(model_sha256="")[0]
    sketches = {"flag": sketch(profile.by_name["flag"], np.zeros(1000))}
    assert judge(profile, sketches, Thresholds(), alpha=0.001).findings == ()


def test_a_column_that_no_sample_had_is_not_judged(profile: Profile) -> None:
    assert judge(profile, {}, Thresholds(), alpha=0.001) == Verdict(findings=(), figures=())


def test_without_any_change_no_more_windows_have_findings_than_stated(profile: Profile) -> None:
    random = np.random.default_rng(4)
    alarms = sum(bool(window(profile, rows_of(random, 300), alpha=0.05).findings) for _ in range(400))
    assert alarms <= 400 * 0.05

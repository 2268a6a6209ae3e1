"""The reference profile: made of chunks, written, read."""

import numpy as np
import orjson
import pytest

from modelendpoint_server.errors import InvalidProfile
from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.reference import Categories, Numbers, Profile
from modelendpoint_server.monitor.sample import Column


def texts(*values: str | None) -> Column:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def profile_of(columns: dict[str, Column], *, chunks: int = 1, sample: int = 100_000) -> Profile:
    builder = ProfileBuilder(sample=sample)
    rows = len(next(iter(columns.values())))
    for part in np.array_split(np.arange(rows), chunks):
        builder.add({name: column[part] for name, column in columns.items()}, {}, rows=len(part))
    return builder.build(model_sha256="ab" * 32)[0]


def test_numbers_get_bins_of_equal_shares_and_exact_moments_whatever_the_chunks() -> None:
    values = np.random.default_rng(1).lognormal(size=10_000)
    values[:100] = np.nan
    one, other = (profile_of({"x": values}, chunks=chunks).by_name["x"] for chunks in (1, 13))
    assert isinstance(one, Numbers) and isinstance(other, Numbers)
    assert (one.edges, one.counts) == (other.edges, other.counts)
    assert set(one.counts) <= {494, 495, 496} and len(one.counts) == 20
    finite = values[100:]
    assert (one.rows, one.missing) == (10_000, 100)
    assert (one.minimum, one.maximum) == (finite.min(), finite.max())
    assert other.mean == pytest.approx(finite.mean())
    assert other.deviation == pytest.approx(finite.std())


def test_a_number_that_very_many_rows_have_is_a_bin_of_its_own() -> None:
    values = np.concatenate([np.zeros(500), np.full(400, 7.0), np.linspace(1, 6, 50), np.linspace(8, 9, 50)])
    column = profile_of({"x": values}).by_name["x"]
    assert isinstance(column, Numbers)
    alone = {column.counts[np.searchsorted(column.edges, value, side="right")] for value in (0.0, 7.0)}
    assert alone == {500, 400}


def test_few_numbers_and_texts_are_counted_one_by_one() -> None:
    levels, plans = np.array([1, 2, 2, 3] * 20), texts(*["b", "a", "a", None] * 20)
    profile = profile_of({"level": levels, "plan": plans}, chunks=2)
    level, plan = profile.by_name["level"], profile.by_name["plan"]
    assert isinstance(level, Categories) and isinstance(plan, Categories)
    assert (level.values, level.counts, level.others) == ((1.0, 2.0, 3.0), (20, 40, 20), 0)
    assert (plan.values, plan.counts, plan.missing) == (("a", "b"), (40, 20), 20)
    assert plan.is_complete and plan.rare == ()


def test_of_too_many_texts_the_commonest_are_kept_and_the_others_counted_together() -> None:
    column = profile_of({"id": texts(*[f"u{index}" for index in range(3000)], *["x"] * 500)}).by_name["id"]
    assert isinstance(column, Categories)
    assert (len(column.values), "x" in column.values, column.is_complete) == (64, True, False)
    assert column.counted == 3500 // 2
    others = [count for value, count in zip(column.values, column.counts, strict=True) if value != "x"]
    # Chosen by one half of the rows, they are nowhere in the other.
    assert others == [0] * 63


def test_values_that_few_rows_have_are_chosen_by_one_half_of_the_rows_and_counted_in_the_other() -> None:
    rare = [f"r{index}" for index in range(20)]
    column = profile_of({"plan": texts(*["a"] * 500, *["b"] * 500, *rare)}).by_name["plan"]
    assert isinstance(column, Categories)
    assert {*column.values, *column.rare} == {"a", "b", *rare}
    assert (column.is_complete, column.seen_once, column.counted) == (True, 20, 510)
    assert 0 < column.others == len(column.rare) < 20


def test_bins_of_more_rows_than_the_sample_are_those_of_a_uniform_sample() -> None:
    values = np.arange(50_000.0)
    column = profile_of({"x": values}, chunks=50, sample=5000).by_name["x"]
    assert isinstance(column, Numbers)
    assert (column.rows, column.maximum, sum(column.counts)) == (50_000, 49_999.0, 5000)
    assert np.abs(np.array(column.edges) - np.arange(2500, 50_000, 2500)).max() < 1500


def test_short_rows_are_looked_at_by_place_and_long_ones_by_mean_and_deviation() -> None:
    random = np.random.default_rng(1)
    profile = profile_of({"vector": random.random((100, 2)), "image": random.random((100, 3, 10, 10))})
    assert set(profile.by_name) == {"vector[0]", "vector[1]", "image.mean", "image.deviation"}
    assert profile.summarised == {"image"}


def test_an_output_that_is_called_as_an_input_has_a_name_of_its_own() -> None:
    builder = ProfileBuilder()
    builder.add({"x": np.arange(5)}, {"x": np.arange(5), "y": np.arange(5)}, rows=5)
    assert list(builder.build(model_sha256="")[0].by_name) == ["x", "output:x", "y"]


def test_a_column_without_any_value_is_left_out_and_told() -> None:
    builder = ProfileBuilder()
    builder.add({"x": np.arange(5), "gone": np.full(5, np.nan)}, {}, rows=5)
    profile, without = builder.build(model_sha256="")
    assert (list(profile.by_name), without) == (["x"], ("gone",))
    with pytest.raises(InvalidProfile, match="no column with a value"):
        ProfileBuilder().build(model_sha256="")


def test_a_profile_of_a_single_row_is_one() -> None:
    profile = profile_of({"x": np.ones(1), "plan": texts("a")})
    assert Profile.from_json(profile.as_json()).inputs == profile.inputs


def test_a_profile_that_was_written_is_read_back() -> None:
    columns = {"x": np.random.default_rng(1).normal(size=500), "plan": texts(*["a", "b"] * 250)}
    profile = profile_of(columns)
    text = profile.as_json()
    back = Profile.from_json(text)
    assert (back.inputs, back.rows, back.model_sha256) == (profile.inputs, 500, "ab" * 32)
    assert back.as_json() == text
    assert len(back.sha256) == 64
    assert len(text.splitlines()) < 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schemaVersion": 7}, "schemaVersion 7"),
        ({"inputs": [], "outputs": []}, "no columns"),
        ({"model": None}, "lacks something"),
        ({"inputs": [{"name": "x", "kind": "Words"}]}, "Numbers and Categories are known|lacks something"),
    ],
)
def test_a_profile_that_is_none_is_refused_with_what_is_wrong_and_how_to_make_one(
    change: dict[str, object], words: str
) -> None:
    document = orjson.loads(profile_of({"x": np.arange(100)}).as_json())
    with pytest.raises(InvalidProfile, match=words) as refused:
        Profile.from_json(orjson.dumps({**document, **change}))
    assert "mep profile" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"edges": [2.0, 1.0]}, r"inputs\[0\] \(x\) of the profile has edges or values that do not ascend"),
        ({"counts": [1, 2]}, "has 2 counts for 19 edges"),
        ({"counts": [0] * 20}, "has no values"),
    ],
)
def test_counts_that_mean_nothing_are_refused_with_the_column(change: dict[str, object], words: str) -> None:
    document = orjson.loads(profile_of({"x": np.arange(100)}).as_json())
    document["inputs"][0] |= change
    with pytest.raises(InvalidProfile, match=words):
        Profile.from_json(orjson.dumps(document))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidProfile, match="is not"):
        Profile.from_json(text)

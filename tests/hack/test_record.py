"""The record of runs of the cluster tests: a row for each Kubernetes and kind of cluster, the last run's."""

from support.record import Run, add_row, count_outcomes


def run(kubernetes: str, *, passed: int) -> Run:
    counts = {"passed": passed, "failed": 0, "skipped": 2}
    return Run(
        kubernetes=kubernetes,
        cluster="kind",
        nodes=2,
        counts=counts,
        left_out=3,
        seconds=61.4,
        day="2026-11-25",
        commit="43d2339",
    )


def test_a_run_is_a_row_with_what_was_run_and_what_was_left_out() -> None:
    assert add_row("", run("v1.34.4", passed=70)).splitlines()[-1] == (
        "| v1.34.4 | kind | 2 | 70 | 0 | 2 | 3 | 61 | 2026-11-25 | 43d2339 |"
    )


def test_a_later_run_replaces_the_row_of_its_kubernetes_and_leaves_the_others() -> None:
    text = add_row(add_row("", run("v1.34.4", passed=70)), run("v1.30.13", passed=71))
    rows = [line for line in add_row(text, run("v1.34.4", passed=75)).splitlines() if line.startswith("| v")]
    assert [row.split(" | ")[3] for row in rows] == ["71", "75"]


def test_a_test_whose_set_up_breaks_counts_as_failed() -> None:
    assert count_outcomes({"passed": [1, 2], "failed": [3], "error": [4]}) == {"passed": 2, "failed": 2, "skipped": 0}

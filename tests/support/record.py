"""A record of runs of the cluster tests: which Kubernetes, how many tests. Written by the run itself, one row for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADING = """\
# Where the cluster tests ran

For those who want to know on what a release was tried. Written by the test run (`RECORD=docs/tested-on.md`), a row for each
Kubernetes and kind of cluster, the last run of it; nothing here is written by hand.

| Kubernetes | Cluster | Nodes | Passed | Failed | Skipped | Not run | Seconds | Day | Commit |
|---|---|---|---|---|---|---|---|---|---|
"""
COUNTED = ("passed", "failed", "skipped")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of tests on one cluster."""

    kubernetes: str
    cluster: str
    nodes: int
    counts: Mapping[str, int]
    """Outcome → number of tests; what broke in its set-up counts as failed."""
    left_out: int
    """Tests of the folder that the run was told to leave out."""
    seconds: float
    day: str
    commit: str

    @property
    def row(self) -> str:
        """The run as a row of the table."""
        counts = (str(self.counts.get(name, 0)) for name in COUNTED)
        cells = (self.kubernetes, self.cluster, str(self.nodes), *counts, str(self.left_out), f"{self.seconds:.0f}")
        return f"| {' | '.join((*cells, self.day, self.commit))} |"


def add_row(text: str, run: Run) -> str:
    """Put a run into the text of a record, in the place of an older one of the same Kubernetes and kind of cluster."""
    same = f"| {run.kubernetes} | {run.cluster} |"
    rows = [line for line in text.splitlines() if line.startswith("| v") and not line.startswith(same)]
    return HEADING + "".join(f"{row}\n" for row in sorted([*rows, run.row]))


def write(path: Path, run: Run) -> None:
    """Write a run down."""
    path.write_text(add_row(path.read_text() if path.exists() else "", run))


def count_outcomes(reports: Mapping[str, Sequence[object]]) -> dict[str, int]:
    """Count what pytest's terminal reporter has gathered."""
    failed = len(reports.get("failed", ())) + len(reports.get("error", ()))
    return {"passed": len(reports.get("passed", ())), "failed": failed, "skipped": len(reports.get("skipped", ()))}

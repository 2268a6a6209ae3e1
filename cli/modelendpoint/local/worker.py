"""What a batch worker is told, rewritten for one machine. Pure: nothing is read or written.

Rows are read, and predictions written, where people have said, not in copies: a run is told the paths of this machine.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelendpoint.local.relocation import Place, relocate_environment, relocate_value
from modelendpoint_operator import names

LAST_WORDS = "last-words"
"""File in the pod's folder that stands for the container's termination message."""

_PLACES = ("input", "output", "compareWith")


def relocate_worker(given: Mapping[str, str], place: Place, *, index: str) -> dict[str, str]:
    """Rewrite the environment of a worker's container, and add what Kubernetes adds to it."""
    run = json.loads(given[names.ENV_BATCH])
    moved = {part: {**run[part], "uri": relocate_value(run[part]["uri"], place)} for part in _PLACES if run.get(part)}
    return relocate_environment(given, place) | {
        names.ENV_BATCH: json.dumps(run | moved),
        "MODELENDPOINT_BATCH_CREDENTIALS_DIR": str(place.path(names.CREDENTIALS_DIR).parent),
        "MODELENDPOINT_BATCH_TERMINATION_LOG": str(last_words(place)),
        "JOB_COMPLETION_INDEX": index,
    }


def relocate_command(command: Sequence[str], *, python: str) -> list[str]:
    """Rewrite a worker's command: it runs in this Python, and not what lies in the folder that it is started in."""
    return [python, "-P", *command[1:]]


def last_words(place: Place) -> Path:
    """Name the file of a pod's termination message."""
    return place.folder / LAST_WORDS

"""How many pods a Deployment creates and ends."""

import pytest

from modelendpoint.local.deployments import Changes, Replica, balance

SIGNS = {"c": (True, False), "C": (True, True), "o": (False, False), "O": (False, True)}


def pods(signs: str) -> list[Replica]:
    """Small letters are not ready; c is of the current template, o of an old one. Each is named by its place."""
    return [
        Replica(name=str(place), is_current=SIGNS[sign][0], is_ready=SIGNS[sign][1]) for place, sign in enumerate(signs)
    ]


@pytest.mark.parametrize(
    ("before", "replicas", "create", "end"),
    [
        pytest.param("", 2, 2, "", id="a new Deployment creates all its pods"),
        pytest.param("CC", 2, 0, "", id="what is as it shall be stays"),
        pytest.param("Cc", 1, 0, "1", id="of too many, those that are not ready go first"),
        pytest.param("CCC", 1, 0, "12", id="of too many ready ones the oldest stays"),
        pytest.param("CC", 0, 0, "01", id="no replicas means no pods"),
        pytest.param("O", 1, 1, "", id="an update creates one pod more"),
        pytest.param("Oc", 1, 0, "", id="the old pod stays until the new one is ready"),
        pytest.param("OC", 1, 0, "0", id="the old pod goes when the new one is ready"),
        pytest.param("OO", 2, 1, "", id="an update creates one pod at a time"),
        pytest.param("OOC", 2, 1, "0", id="each new ready pod takes the place of one old pod, and the next one comes"),
        pytest.param("OC", 2, 1, "", id="the next new pod comes when an old one has gone"),
        pytest.param("oo", 2, 2, "01", id="old pods that serve nobody go at once"),
        pytest.param("Oc", 0, 0, "01", id="no replicas means no pods in an update either"),
    ],
)
def test_pods_follow_their_deployment(before: str, replicas: int, create: int, end: str) -> None:
    assert balance(pods(before), replicas=replicas) == Changes(create=create, end=tuple(end))


def test_without_a_surge_the_old_pod_goes_before_the_new_one_comes() -> None:
    assert balance(pods("O"), replicas=1, surge=0) == Changes(end=("0",))
    assert balance([], replicas=1, surge=0) == Changes(create=1)

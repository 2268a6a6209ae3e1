"""Requests to a revision without pods in the real Envoy: held until one is there, bounded in number and time."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import RouterStatusReader
from modelendpoint_operator.api.scaling import Autoscaling
from modelendpoint_operator.manifests import holding
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.observation import Leg
from support.router_rig import PREDICT, Answer, Client, RouterRig, an_endpoint
from support.routers import Exchange, ModelServer, model_servers, wait_until

HELD, DIRECT = Leg(revision=7, weight=100, held=True), Leg(revision=7, weight=100)


class Sleeper:
    """An endpoint whose revision 7 has a pod, or none."""

    def __init__(self, rig: RouterRig, server: ModelServer) -> None:
        self.rig, self.server = rig, server
        self._reader = RouterStatusReader(port=rig.router.status_port)

    def be(
        self, leg: Leg, *, sleeping: bool = False, pods: Sequence[ModelServer] | None = None, wake_seconds: int = 60
    ) -> None:
        """Let the router work with a leg, and know of the pods."""
        autoscaling = Autoscaling(min_replicas=0, max_replicas=1, wake_seconds=wake_seconds)
        endpoint = an_endpoint()
        endpoint = replace(endpoint, spec=endpoint.spec.model_copy(update={"autoscaling": autoscaling}))
        documents = build_documents(endpoint, [leg], [7], holding={7: sleeping})
        pods = [] if sleeping else [self.server] if pods is None else pods
        self.rig.router.write(documents, {7: [pod.host for pod in pods]})
        if not self.rig.router.is_running:
            self.rig.router.start()
        wanted = tuple(documents[file]["version_info"] for file in (names.ROUTES_FILE, names.CLUSTERS_FILE))
        wait_until(lambda: (self.rig.status().route_version, self.rig.status().cluster_version) == wanted)
        wait_until(lambda: self.rig.status().clusters[7].healthy_hosts == len(pods))

    def knocks(self) -> int:
        """Ask what the operator asks while it waits for requests."""
        knocks = self._reader.count_knocks("127.0.0.1")
        assert knocks is not None
        return knocks

    def ask(self, body: bytes = b"{}") -> Answer:
        client = Client(self.rig.router.traffic_port)
        client.connection.timeout = 30
        client.connection.request("POST", PREDICT, body)
        response = client.connection.getresponse()
        answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        client.close()
        return answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sleeper]:
    rig = RouterRig(tmp_path_factory.mktemp("router"))
    with model_servers(ModelServer(7)) as (server,):
        yield Sleeper(rig, server)
    rig.router.stop()


@pytest.fixture
def sleeper(running: Sleeper) -> Sleeper:
    running.be(HELD, sleeping=True)
    running.server.behaviour = Exchange.answer
    running.server.requests.clear()
    return running


def test_requests_are_held_until_a_pod_is_there_and_as_many_as_fit_at_most(sleeper: Sleeper) -> None:
    bodies = [b"x" * (1 + 1000 * number) for number in range(130)]
    before = sleeper.knocks()
    with ThreadPoolExecutor(len(bodies)) as pool:
        asked = [pool.submit(sleeper.ask, body) for body in bodies]
        wait_until(lambda: sum(one.done() for one in asked) == 30 and sleeper.knocks() >= before + 200)
        sleeper.be(HELD)
    answers = [one.result() for one in asked]

    assert Counter(status for status, *_ in answers) == {200: holding.MOST_HELD, 503: 30}
    for (status, headers, body), sent in zip(answers, bodies, strict=True):
        assert names.HEADER_HOLD not in headers
        assert body == sent if status == 200 else (headers["retry-after"], b"one is starting" in body) == ("5", True)


def test_a_request_that_waited_long_enough_is_answered_503(sleeper: Sleeper) -> None:
    sleeper.be(HELD, sleeping=True, wake_seconds=1)

    status, headers, body = sleeper.ask()
    assert (status, headers["retry-after"], b"NoRevisionReady" in body) == (503, "5", True)


def test_a_body_that_can_not_be_kept_is_answered_503_and_knocks(sleeper: Sleeper) -> None:
    before = sleeper.knocks()
    status, headers, _ = sleeper.ask(b"x" * 5_000_000)

    assert (status, headers["retry-after"]) == (503, "5")
    assert sleeper.knocks() > before


def test_nothing_knocks_while_no_request_comes(sleeper: Sleeper) -> None:
    sleeper.be(DIRECT)
    sleeper.ask()
    before = sleeper.knocks()
    sleeper.be(HELD)
    sleeper.be(HELD, sleeping=True)

    assert sleeper.knocks() == before


def test_a_pod_that_dns_does_not_name_yet_is_waited_for(sleeper: Sleeper) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(sleeper.ask)
        wait_until(someone_knocks(sleeper))
        sleeper.be(HELD, pods=[])
        wait_until(someone_knocks(sleeper))
        assert not asked.done()
        sleeper.be(HELD)
        assert asked.result()[0] == 200


def test_falling_asleep_lets_requests_in_flight_end_and_holds_the_next(sleeper: Sleeper) -> None:
    sleeper.be(DIRECT)
    asleep = threading.Event()

    def answer_when_asleep(exchange: Exchange) -> None:
        assert asleep.wait(10)
        exchange.answer()

    sleeper.server.behaviour = answer_when_asleep
    with ThreadPoolExecutor() as pool:
        direct = pool.submit(sleeper.ask)
        wait_until(lambda: len(sleeper.server.requests) == 1)
        sleeper.be(HELD)
        held = pool.submit(sleeper.ask)
        wait_until(lambda: len(sleeper.server.requests) == 2)
        sleeper.be(HELD, sleeping=True)
        late = pool.submit(sleeper.ask)
        wait_until(someone_knocks(sleeper))
        asleep.set()
        assert (direct.result()[0], held.result()[0]) == (200, 200)
        sleeper.be(HELD)
        assert late.result()[0] == 200


def test_a_server_that_dies_of_a_held_request_does_not_get_it_again(sleeper: Sleeper) -> None:
    sleeper.server.behaviour = Exchange.reset
    sleeper.be(HELD)

    assert sleeper.ask()[0] == 503
    assert len(sleeper.server.requests) == 1


def someone_knocks(sleeper: Sleeper) -> Callable[[], bool]:
    before = sleeper.knocks()
    return lambda: sleeper.knocks() > before

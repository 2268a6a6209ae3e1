"""Measures for gates: asks Prometheus, candidates, and services that judge them. Judging must not be here.

A slow service must not hold up a pass, or other people's endpoints: every question has a thread of its own, a pass takes
the answers that are there, and a namespace has only so many questions under way.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Literal
from urllib.parse import quote_plus, urlsplit, urlunsplit

import structlog
from pydantic import BaseModel, ValidationError

from modelendpoint_operator.adapters.exchange import Answer, Exchange, NoAnswer, Request
from modelendpoint_operator.adapters.targets import Resolver, Target, TargetRefused, Targets, resolve_name
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import HttpGate, PrometheusGate
from modelendpoint_operator.observation import Check, Measurement
from modelendpoint_operator.settings import Settings

AT_ONCE = 32
"""Questions under way at the same time."""
AT_ONCE_IN_A_NAMESPACE = 4
PATIENCE_SECONDS = 0.2
"""How long a pass waits for what it has just asked; most hosts answer within this time."""
QUERY_SECONDS = 10.0
"""Longest time an answer of Prometheus may take."""
MESSAGE_LENGTH = 200
"""Most of a foreign text that gets into a status."""

Address = tuple[str, int]
"""IP address and port."""

_log = structlog.get_logger()


class CheckRunner:
    """Measures what is due."""

    def __init__(self, settings: Settings, *, resolve: Resolver = resolve_name) -> None:
        self._targets = Targets(
            allowed_hosts=settings.gate_allowed_hosts, domain=settings.cluster_domain, resolve=resolve
        )
        self._prometheus = settings.prometheus_address
        self._exchange = Exchange()
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str, Check], Future[Measurement]] = {}

    def measure(
        self, endpoint: ModelEndpoint, checks: Sequence[Check], *, pods: Mapping[int, Address]
    ) -> dict[str, Measurement]:
        """Ask what is due, and return the answers that are there; the others come with one of the next passes.

        ``pods`` says where a ready pod of each revision listens; a check that needs another one waits. What an earlier
        pass asked and this one does not want any more is forgotten, so call this also without checks.
        """
        keys = {(endpoint.namespace, endpoint.uid, check): check for check in checks}
        with self._lock:
            self._forget_unwanted(endpoint, keys)
            for key, check in keys.items():
                if key not in self._asked and self._has_room(endpoint.namespace) and _can_be_asked(check, pods):
                    self._asked[key] = self._start(endpoint, check, pods.get(check.candidate))
            asked = {key: self._asked[key] for key in keys if key in self._asked}
        answered, _ = wait(asked.values(), timeout=PATIENCE_SECONDS)
        with self._lock:
            for key, future in asked.items():
                if future in answered:
                    self._asked.pop(key, None)
        return {keys[key].name: future.result() for key, future in asked.items() if future in answered}

    def _forget_unwanted(self, endpoint: ModelEndpoint, wanted: Mapping[tuple[str, str, Check], Check]) -> None:
        for key in [key for key in self._asked if key[:2] == (endpoint.namespace, endpoint.uid) and key not in wanted]:
            del self._asked[key]

    def _has_room(self, namespace: str) -> bool:
        under_way = [key[0] for key, future in self._asked.items() if not future.done()]
        return len(under_way) < AT_ONCE and under_way.count(namespace) < AT_ONCE_IN_A_NAMESPACE

    def _start(self, endpoint: ModelEndpoint, check: Check, pod: Address | None) -> Future[Measurement]:
        future: Future[Measurement] = Future()
        arguments = (future, endpoint, check, pod)
        threading.Thread(target=self._answer, args=arguments, name="check", daemon=True).start()
        return future

    def _answer(self, future: Future[Measurement], endpoint: ModelEndpoint, check: Check, pod: Address | None) -> None:
        try:
            measurement = self._ask(endpoint, check, pod)
        except (TargetRefused, NoAnswer) as error:
            measurement = Measurement(message=_short(str(error)))
        except Exception as error:  # noqa: BLE001
            # A bug here must not keep the endpoint's passes from doing all the rest.
            _log.error("Failed on a bug", exc_info=error, namespace=endpoint.namespace, endpoint=endpoint.name)
            measurement = Measurement(message=f"it could not be measured ({type(error).__name__}); the log tells more")
        future.set_result(measurement)

    def _ask(self, endpoint: ModelEndpoint, check: Check, pod: Address | None) -> Measurement:
        if isinstance(check.gate, PrometheusGate):
            return self._query(endpoint, check, check.gate)
        return self._call(endpoint, check, check.gate, pod)

    def _query(self, endpoint: ModelEndpoint, check: Check, gate: PrometheusGate) -> Measurement:
        address = gate.address or self._prometheus
        if not address:
            raise NoAnswer(
                "no Prometheus is known: set address in the gate, or prometheus.address in the values of the chart"
            )
        url = _query_url(_expand(address, endpoint, check))
        target = self._targets.find(url, namespace=endpoint.namespace, is_trusted=address == self._prometheus)
        body = f"query={quote_plus(_expand(gate.query, endpoint, check))}&timeout={QUERY_SECONDS:.0f}s"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        request = Request(method="POST", headers=headers, body=body, seconds=QUERY_SECONDS)
        return read_query_result(self._exchange.send(target, request))

    def _call(self, endpoint: ModelEndpoint, check: Check, gate: HttpGate, pod: Address | None) -> Measurement:
        if gate.path is not None:
            assert pod is not None
            host, port = pod
            path = _expand(gate.path, endpoint, check)
            target = Target(secure=False, host=host, port=port, path=path, addresses=(host,))
        else:
            target = self._targets.find(_expand(gate.url or "", endpoint, check), namespace=endpoint.namespace)
        body = None if gate.body is None else _expand(gate.body, endpoint, check)
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        request = Request(
            method="GET" if body is None else "POST", headers=headers, body=body, seconds=gate.timeout_seconds
        )
        return read_check_result(self._exchange.send(target, request))


def _can_be_asked(check: Check, pods: Mapping[int, Address]) -> bool:
    return not (isinstance(check.gate, HttpGate) and check.gate.path) or check.candidate in pods


def _query_url(address: str) -> str:
    """Add the path of the query API to an address. A query string of it stays: proxies choose a tenant by it."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/api/v1/query", fragment=""))


def _expand(text: str, endpoint: ModelEndpoint, check: Check) -> str:
    """Put in what the placeholders stand for. They are names and numbers, so nothing has to be quoted."""
    values = {
        "NAMESPACE": endpoint.namespace,
        "ENDPOINT": endpoint.name,
        "CANDIDATE": str(check.candidate),
        "STABLE": str(check.stable or 0),
    }
    for name, value in values.items():
        text = text.replace(f"$({name})", value)
    return text


class _QueryData(BaseModel):
    resultType: Literal["scalar", "vector", "matrix", "string"]
    result: list[object]


class _QueryAnswer(BaseModel):
    status: Literal["success", "error"]
    error: str = ""
    data: _QueryData | None = None


class _Series(BaseModel):
    value: tuple[float, str]


def read_query_result(answer: Answer) -> Measurement:
    """Reduce an answer of Prometheus to one number, or to why there is none."""
    if 300 <= answer.status < 400:
        return Measurement(message=f"Prometheus answered {answer.status}; redirects are not followed")
    try:
        told = _QueryAnswer.model_validate_json(answer.body)
        if told.status == "error":
            return Measurement(message=f"Prometheus refused the query: {_short(told.error)}")
        value = _number(told.data) if told.data else Measurement(message="the result is empty")
    except ValueError:
        return Measurement(message=f"the answer with status {answer.status} is not one of Prometheus")
    return value


def _number(data: _QueryData) -> Measurement:
    if data.resultType == "scalar":
        return _measured(str(data.result[1])) if len(data.result) == 2 else Measurement(message="the result is empty")
    if data.resultType != "vector":
        return Measurement(message=f"the result is a {data.resultType}; the query must give one number")
    if not data.result:
        return Measurement(message="the query has no result; is there such a metric, with data for these labels?")
    if len(data.result) > 1:
        return Measurement(message=f"the query gives {len(data.result)} series; put sum(), max() or the like around it")
    return _measured(_Series.model_validate(data.result[0]).value[1])


def _measured(text: str) -> Measurement:
    value = float(text)
    if math.isnan(value):
        return Measurement(message="the result is NaN, as 0/0 is: there is nothing to measure yet")
    return Measurement(value=value)


class _Told(BaseModel):
    message: str = ""
    error: str = ""


def read_check_result(answer: Answer) -> Measurement:
    """Reduce an answer to its status, and what it says for people: ``message`` or ``error`` of a JSON object."""
    if 300 <= answer.status < 400:
        return Measurement(value=answer.status, message="redirects are not followed")
    try:
        told = _Told.model_validate_json(answer.body) if answer.content_type == "application/json" else _Told()
    except ValidationError:
        told = _Told()
    return Measurement(value=answer.status, message=_short(told.message or told.error))


def _short(text: str) -> str:
    """Make one short line of a foreign text, of characters that can be seen."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= MESSAGE_LENGTH else f"{line[: MESSAGE_LENGTH - 1]}…"

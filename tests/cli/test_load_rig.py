"""The rig against a real server on loopback that misbehaves on purpose: every fault is counted as its kind."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from modelendpoint import load_rig
from modelendpoint.load_rig import Kind, LoadPlan, LoadResult, Request, Rig

GOOD = "a" * 64
OTHER = "b" * 64
ROWS = [[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_plan(**changes: object) -> LoadPlan:
    requests = [
        request
        for row in range(len(ROWS))
        for request in (
            Request(row=row, path="/predict", content_type="application/json", body=json.dumps({"instances": [[row]]})),
            Request(row=row, path="/predict", content_type="text/csv", body=f"x\n{row}\n"),
        )
    ]
    oracle = {GOOD: ROWS, OTHER: [[value + 1 for value in row] for row in ROWS]}
    return replace(LoadPlan(url="", requests=requests, oracle=oracle, rate=500, count=60), **changes)  # type: ignore[arg-type]


def headers(revision: str = "7", sha256: str = GOOD) -> dict[str, str]:
    return {load_rig.REVISION_HEADER: revision, load_rig.SHA256_HEADER: sha256}


async def right_answer(request: web.Request, **changes: str) -> web.Response:
    body = await request.text()
    if request.content_type == "text/csv":
        values = ROWS[int(body.split()[1])]
        text = "p0,p1\r\n" + ",".join(map(str, values)) + "\r\n"
        return web.Response(text=text, content_type="text/csv", headers=headers(**changes))
    return web.json_response({"predictions": [ROWS[json.loads(body)["instances"][0][0]]]}, headers=headers(**changes))


def answers_in_turn(*handlers: Handler) -> Handler:
    """Give each request to the next handler."""
    numbers = iter(range(10**9))

    async def handler(request: web.Request) -> web.StreamResponse:
        return await handlers[next(numbers) % len(handlers)](request)

    return handler


async def close_without_an_answer(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.close()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1)
    return web.Response()


async def serve_and_run(handler: Handler, plan: LoadPlan) -> LoadResult:
    app = web.Application()
    app.router.add_post("/predict", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        return await Rig(replace(plan, url=f"http://127.0.0.1:{port}")).run()
    finally:
        await runner.cleanup()


def run(handler: Handler, **changes: object) -> LoadResult:
    return asyncio.run(serve_and_run(handler, a_plan(**changes)))


def test_right_answers_are_counted_by_revision_and_status() -> None:
    result = run(right_answer)
    assert (result.sent, result.failed, result.by_revision, result.by_status) == (60, 0, {"7": 60}, {"200": 60})
    assert result.revisions["7"].sha256 == GOOD
    assert result.assert_none_failed() is result


def test_half_of_the_requests_open_a_connection_of_their_own() -> None:
    result = run(right_answer, rate=300, count=200)
    assert result.connections_opened >= 100
    assert result.connections_reused > 0
    assert result.connections_opened + result.connections_reused == 200


def test_connections_are_chosen_independently_of_formats() -> None:
    pairs = {(number % 2, load_rig.takes_new_connection(number, 0.5)) for number in range(20)}
    assert pairs == {(0, True), (0, False), (1, True), (1, False)}
    assert sum(load_rig.takes_new_connection(number, 0.3) for number in range(1000)) == pytest.approx(300, abs=2)


def test_a_status_outside_2xx_fails() -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "Out of order."}, status=500, headers=headers())

    result = run(answers_in_turn(right_answer, broken, right_answer))
    assert result.failed_by_kind == {Kind.STATUS: 20}
    assert result.by_status == {"200": 40, "500": 20}
    first = result.first_failures[0]
    assert (first.status, first.headers[load_rig.REVISION_HEADER]) == (500, "7")
    assert "Out of order." in first.body


def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/predict")

    assert run(elsewhere, count=5).by_status == {"307": 5}


def test_a_closed_connection_is_one_transport_failure_and_is_not_tried_again() -> None:
    arrived: list[int] = []

    async def count_and_close_each_third(request: web.Request) -> web.StreamResponse:
        arrived.append(1)
        return await (close_without_an_answer if len(arrived) % 3 == 0 else right_answer)(request)

    result = run(count_and_close_each_third, new_connection_share=0.0)
    assert result.failed_by_kind == {Kind.TRANSPORT: 20}
    assert result.connections_reused > 0
    assert len(arrived) == result.sent == 60


def test_a_refused_connection_is_a_transport_failure() -> None:
    result = asyncio.run(Rig(a_plan(url="http://127.0.0.1:1", count=4)).run())
    assert result.failed_by_kind == {Kind.TRANSPORT: 4}
    assert "Cannot connect to host 127.0.0.1:1" in result.first_failures[0].explanation


def test_an_answer_that_breaks_off_is_a_transport_failure() -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**headers(), "content-length": "100"})
        await response.prepare(request)
        await response.write(b'{"predictions":')
        return await close_without_an_answer(request)

    assert run(break_off, count=6).failed_by_kind == {Kind.TRANSPORT: 6}


def test_an_answer_that_takes_too_long_is_a_timeout() -> None:
    result = run(answers_in_turn(right_answer, hang), timeout_seconds=0.2, count=10)
    assert result.failed_by_kind == {Kind.TIMEOUT: 5}
    assert all(failure.latency_seconds >= 0.2 for failure in result.first_failures)


@pytest.mark.parametrize("missing", [load_rig.REVISION_HEADER, load_rig.SHA256_HEADER])
def test_an_answer_that_does_not_say_who_made_it_fails(missing: str) -> None:
    async def anonymous(request: web.Request) -> web.StreamResponse:
        response = await right_answer(request)
        del response.headers[missing]
        return response

    result = run(anonymous, count=6)
    assert result.failed_by_kind == {Kind.MISSING_HEADER: 6}
    assert missing in result.first_failures[0].explanation


def test_bytes_that_the_oracle_does_not_know_fail() -> None:
    async def stranger(request: web.Request) -> web.StreamResponse:
        return await right_answer(request, revision="8", sha256="c" * 64)

    result = run(answers_in_turn(right_answer, stranger), count=10)
    assert result.failed_by_kind == {Kind.UNKNOWN_REVISION: 5}
    assert result.by_revision == {"7": 5}


def test_a_revision_that_answers_from_two_kinds_of_bytes_fails() -> None:
    async def other_bytes(request: web.Request) -> web.StreamResponse:
        return await right_answer(request, revision="7", sha256=OTHER)

    result = run(answers_in_turn(right_answer, other_bytes), count=10, rate=50)
    assert result.failed_by_kind == {Kind.UNKNOWN_REVISION: 5}


def test_another_models_numbers_are_a_wrong_answer() -> None:
    async def mixed_up(request: web.Request) -> web.StreamResponse:
        return await right_answer(request, revision="8", sha256=OTHER)

    result = run(answers_in_turn(right_answer, mixed_up), count=10)
    assert result.failed_by_kind == {Kind.WRONG_ANSWER: 5}
    assert "revision 8" in result.first_failures[0].explanation


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"predictions": []}',
        '{"predictions": [[0.25, 0.75], [0.25, 0.75]]}',
        '{"predictions": [[0.25]]}',
        '{"predictions": [[0.25, 0.75, 0.0]]}',
        '{"predictions": [[0.25, null]]}',
        '{"predictions": [[0.25, NaN]]}',
        '{"predictions": [[0.25, "0.75"]]}',
    ],
)
def test_an_unreadable_missing_or_surplus_value_is_a_wrong_answer(body: str) -> None:
    answer = load_rig.Answer(status=200, headers={"content-type": "application/json", **headers()}, body=body)
    plan = a_plan()
    with pytest.raises(load_rig.Failure) as failure:
        load_rig.Judge(plan).judge(plan.requests[0], answer)
    assert failure.value.kind is Kind.WRONG_ANSWER


@pytest.mark.parametrize("body", ["p0,p1\r\n0.25,0.75\r\n", "0.25,0.75\n", "p0,p1\n\n0.250001,0.75\n"])
def test_csv_answers_are_read_with_and_without_a_header(body: str) -> None:
    answer = load_rig.Answer(status=200, headers={"content-type": "text/csv; charset=utf-8", **headers()}, body=body)
    plan = a_plan()
    assert load_rig.Judge(plan).judge(plan.requests[1], answer) == ("7", GOOD)


def test_named_outputs_and_text_labels_are_compared_in_the_order_of_the_outputs() -> None:
    body = json.dumps({"predictions": [{"label": "yes", "probabilities": [0.25, 0.75]}]})
    answer = load_rig.Answer(status=200, headers={"content-type": "application/json", **headers()}, body=body)
    plan = a_plan(oracle={GOOD: [["yes", 0.25, 0.75]]})
    assert load_rig.Judge(plan).judge(plan.requests[0], answer) == ("7", GOOD)


def test_a_pause_of_the_server_shows_in_the_latency_of_every_request_that_was_due_in_it() -> None:
    """A closed loop would send one request, wait, and report one slow answer."""
    free = asyncio.Event()

    async def stand_still(request: web.Request) -> web.StreamResponse:
        if not free.is_set():
            asyncio.get_running_loop().call_later(0.5, free.set)
        await free.wait()
        return await right_answer(request)

    result = run(stand_still, rate=100, count=100, timeout_seconds=5)
    assert result.failed == 0
    assert result.latency_max_seconds >= 0.5
    assert result.latency_p99_seconds >= 0.4


def test_the_rig_tells_how_late_it_was_itself() -> None:
    async def block_the_rig(request: web.Request) -> web.StreamResponse:
        time.sleep(0.3)  # noqa: ASYNC251  the server runs in the rig's own process, so this holds up the rig too
        return await right_answer(request)

    assert run(block_the_rig, rate=100, count=3).latest_seconds >= 0.25


def test_the_timeline_tells_when_each_revision_answered() -> None:
    numbers = iter(range(10**9))

    async def change_after_30(request: web.Request) -> web.StreamResponse:
        return await right_answer(request, revision="7" if next(numbers) < 30 else "8")

    result = run(change_after_30, rate=25, count=60)
    assert sum(second.get("7", 0) for second in result.timeline) == 30
    assert result.timeline[0] == {"7": 25}
    assert result.timeline[2] == {"8": 10}
    assert result.revisions["8"].first_second == pytest.approx(1.2, abs=0.1)


def test_failed_requests_are_named_in_full_and_at_most_20_are_kept() -> None:
    result = run(close_without_an_answer, count=40)
    assert len(result.first_failures) == load_rig.FAILURES_KEPT
    with pytest.raises(AssertionError) as refused:
        result.assert_none_failed()
    said = str(refused.value)
    assert "40 of 40 requests failed (40 transport)" in said
    assert "#3 at 0.006 s row 1 /predict text/csv" in said


def test_a_run_without_requests_proves_nothing() -> None:
    with pytest.raises(AssertionError, match="no request"):
        run(right_answer, count=0).assert_none_failed()


def test_a_run_ends_after_its_duration() -> None:
    result = run(right_answer, rate=100, count=None, duration_seconds=0.5)
    assert result.sent == 50


def test_plan_and_result_survive_json() -> None:
    plan = a_plan(count=7)
    assert LoadPlan.from_json(plan.to_json()) == plan
    result = run(answers_in_turn(right_answer, close_without_an_answer), count=6)
    assert LoadResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_finishes_what_is_in_flight_when_it_gets_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await right_answer(request)

    async def story() -> tuple[list[dict[str, object]], int]:
        app = web.Application()
        app.router.add_post("/predict", slow)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        plan = a_plan(url=f"http://127.0.0.1:{runner.addresses[0][1]}", rate=50, count=None, duration_seconds=60)
        (tmp_path / "plan.json").write_text(plan.to_json())
        process = await asyncio.create_subprocess_exec(
            sys.executable, load_rig.__file__, str(tmp_path / "plan.json"), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout
        lines = [await process.stdout.readline()]  # the first progress: requests are in flight now
        os.kill(process.pid, number)
        lines += (await process.stdout.read()).splitlines()
        code = await process.wait()
        await runner.cleanup()
        return [json.loads(line) for line in lines], code

    documents, code = asyncio.run(story())
    result = LoadResult.from_dict(documents[-1]["result"])  # type: ignore[arg-type]
    assert code == 0
    assert 0 < documents[0]["progress"]["finished"] < documents[0]["progress"]["sent"]  # type: ignore[index]
    assert result.assert_none_failed().by_revision["7"] == result.sent >= 40

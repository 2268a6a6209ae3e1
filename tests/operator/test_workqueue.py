"""The work queue, on a clock that a test turns, and once with real threads."""

import threading
from collections import Counter
from datetime import timedelta

import pytest

from modelendpoint_operator.workqueue import LAST_DELAY, WorkQueue
from support.clocks import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock)


def take_now(queue: WorkQueue[str]) -> str | None:
    return queue.take(timeout=0)


def test_keys_come_out_in_the_order_in_which_they_are_due(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("late", after=timedelta(seconds=5))
    queue.add("first")
    queue.add("second")

    assert [take_now(queue) for _ in range(3)] == ["first", "second", None]
    clock.now += 5
    assert take_now(queue) == "late"


def test_a_key_stands_in_the_queue_once(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")

    assert len(queue) == 1
    assert [take_now(queue), take_now(queue)] == ["a", None]


def test_of_two_times_the_earlier_one_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", after=timedelta(seconds=9))
    queue.add("a", after=timedelta(seconds=2))
    queue.add("a", after=timedelta(seconds=7))

    clock.now += 2
    assert take_now(queue) == "a"
    queue.done("a")
    clock.now += 100
    assert take_now(queue) is None


def test_a_key_that_is_worked_on_waits_for_its_worker(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    assert take_now(queue) == "a"
    queue.add("a")
    queue.add("b")

    assert [take_now(queue), take_now(queue)] == ["b", None]
    queue.done("a")
    assert take_now(queue) == "a"


def test_only_keys_that_are_due_and_wait_for_a_worker_are_backlog(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("later", after=timedelta(seconds=60))
    queue.add("worked on")
    take_now(queue)
    queue.add("worked on")
    assert queue.backlog() == (0, 0.0)

    queue.add("a")
    clock.now += 7
    queue.add("b")
    assert queue.backlog() == (2, 7.0)


def test_work_that_ended_well_can_ask_to_look_again(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    take_now(queue)
    queue.done("a", again_after=timedelta(seconds=3))

    assert take_now(queue) is None
    clock.now += 3
    assert take_now(queue) == "a"
    queue.done("a")
    assert len(queue) == 0


def test_an_event_in_between_does_not_wait_for_the_time_to_look_again(queue: WorkQueue[str]) -> None:
    queue.add("a")
    take_now(queue)
    queue.add("a")
    queue.done("a", again_after=timedelta(seconds=60))

    assert take_now(queue) == "a"


def delays_of_failures(queue: WorkQueue[str], clock: Clock, *, count: int) -> list[float]:
    delays = []
    for _ in range(count):
        queue.failed("a")
        since = clock.now
        while take_now(queue) is None:
            clock.now += 0.1
        delays.append(round(clock.now - since, 1))
    return delays


def test_failures_come_again_later_and_later_up_to_a_cap(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    take_now(queue)

    delays = delays_of_failures(queue, clock, count=12)
    assert delays[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6], abs=0.11)
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(LAST_DELAY.total_seconds(), abs=0.11)


def test_good_work_ends_the_back_off(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    take_now(queue)
    delays_of_failures(queue, clock, count=6)
    queue.done("a", again_after=timedelta(0))
    take_now(queue)

    assert delays_of_failures(queue, clock, count=1) == pytest.approx([0.2], abs=0.11)


def test_the_failure_of_one_key_holds_up_no_other(queue: WorkQueue[str]) -> None:
    queue.add("a")
    take_now(queue)
    queue.failed("a")
    queue.add("b")

    assert take_now(queue) == "b"


def test_a_closed_queue_hands_out_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.close()

    assert queue.take() is None


def test_close_lets_those_who_wait_go_home() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [threading.Thread(target=queue.take) for _ in range(3)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(timeout=10)

    assert not any(worker.is_alive() for worker in workers)


def test_threads_share_the_work_and_never_a_key() -> None:
    queue: WorkQueue[int] = WorkQueue()
    in_work: Counter[int] = Counter()
    worked: Counter[int] = Counter()
    clashes: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        while (key := queue.take(timeout=10)) is not None:
            with lock:
                in_work[key] += 1
                worked[key] += 1
                clashes.extend([key] if in_work[key] > 1 else [])
                is_last = worked.total() >= 400
            queue.add((key + 1) % 7)
            queue.add(key)
            with lock:
                in_work[key] -= 1
            queue.done(key)
            if is_last:
                queue.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for key in range(7):
        queue.add(key)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)

    assert not any(worker.is_alive() for worker in workers)
    assert clashes == []
    assert set(worked) == set(range(7))

"""Which requests are sampled, and that sampling never costs one: a full queue, no monitor, one that says nothing."""

import contextlib
import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelendpoint_server.capture import MOST_BYTES, MOST_EXCHANGES, Capture, Config, is_sampled, threshold_of
from modelendpoint_server.frames import Exchange, Figures, Introduction, take_frame, write_count
from modelendpoint_server.protocols import Answer
from support.onnx_models import linear_model
from support.served import service_for

ANSWER = Answer(b'{"predictions":[[1.0]]}')


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_the_share_that_is_sampled_is_the_one_asked_for_whatever_the_ids_look_like(percent: float) -> None:
    threshold = threshold_of(percent)
    for ids in ([f"request-{n}" for n in range(20_000)], [str(uuid.UUID(int=n * 2**64)) for n in range(20_000)]):
        share = sum(is_sampled(one, threshold) for one in ids) / len(ids)
        # Five standard deviations.
        assert abs(share - percent / 100) < 5 * (percent / 100 / len(ids)) ** 0.5


def test_a_larger_share_has_all_of_the_smaller_one() -> None:
    ids = [f"request-{n}" for n in range(5000)]
    few, many = ({one for one in ids if is_sampled(one, threshold_of(percent))} for percent in (5, 20))
    assert few < many
    assert all(is_sampled(one, threshold_of(100)) and not is_sampled(one, threshold_of(0)) for one in ids)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"percent": "all", "address": "a:1"}', '{"percent": 5}', "null"])
def test_a_configuration_that_can_not_be_read_turns_sampling_off(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    assert Config.read(file) == Config()


class Sampler:
    """A server's capture without its thread, and what it counted."""

    def __init__(self, folder: Path) -> None:
        service = service_for(linear_model([1.0]).data, folder, monitoring_dir=folder / "monitoring")
        self.capture: Capture = service.capture
        self._file = folder / "monitoring" / "config.json"
        self.now = 0.0

    def configure(self, *, percent: float, port: int) -> None:
        self._file.parent.mkdir(exist_ok=True)
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps({"percent": percent, "address": f"127.0.0.1:{port}"}))
        draft.rename(self._file)

    def switch_off(self) -> None:
        self._file.unlink()

    def turn(self) -> None:
        """Let so much time go by that it looks at the file, and tries again what failed."""
        self.now += 20
        self.capture.turn(self.now)

    def take(self, number: int, *, size: int = 0) -> None:
        self.capture.take({"HTTP_X_REQUEST_ID": f"r{number}"}, "rest", request=bytes(size), answer=ANSWER)

    def counted(self) -> tuple[float, float, float, float]:
        """Return what was sampled and sent, and what was dropped for a full queue and as lost."""
        values = {
            (sample.name.removesuffix("_total"), sample.labels.get("reason")): sample.value
            for family in self.capture.collect()
            for sample in family.samples
        }
        name = "modelserver_capture_"
        keys = [("sampled", None), ("sent", None), ("dropped", "full"), ("dropped", "lost")]
        sampled, sent, full, lost = (values[name + key, reason] for key, reason in keys)
        return sampled, sent, full, lost


@pytest.fixture
def sampler(tmp_path: Path) -> Iterator[Sampler]:
    sampler = Sampler(tmp_path)
    yield sampler
    sampler.capture.stop()


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def test_without_a_configuration_nothing_is_sampled(sampler: Sampler) -> None:
    sampler.turn()
    sampler.take(1)
    assert sampler.counted() == (0, 0, 0, 0)


def test_a_queue_that_nobody_empties_takes_no_more_than_its_number_and_its_bytes(sampler: Sampler) -> None:
    sampler.configure(percent=100, port=1)
    sampler.turn()
    for number in range(MOST_EXCHANGES + 10):
        sampler.take(number)
    assert sampler.counted() == (MOST_EXCHANGES + 10, 0, 10, 0)
    sampler.turn()  # nobody listens
    assert sampler.counted() == (MOST_EXCHANGES + 10, 0, 10, 0), "the queue waits for a monitor"
    sampler.switch_off()
    sampler.turn()
    assert sampler.counted() == (MOST_EXCHANGES + 10, 0, 10, MOST_EXCHANGES)
    sampler.configure(percent=100, port=2)
    sampler.turn()
    sampler.take(1, size=MOST_BYTES)
    sampler.take(2, size=MOST_BYTES // 2)
    sampler.take(3, size=MOST_BYTES // 2)
    assert sampler.counted()[2] == 12


def test_what_goes_wrong_with_a_sample_does_not_reach_the_request(sampler: Sampler) -> None:
    sampler.configure(percent=100, port=1)
    sampler.turn()
    sampler.capture.take({"HTTP_X_REQUEST_ID": 5}, "rest", answer=ANSWER)
    sampler.capture.take({"HTTP_X_REQUEST_ID": "x" * 1000}, "rest", answer=ANSWER)
    sampler.capture.take({}, "rest", answer=ANSWER)
    assert sampler.counted() == (1, 0, 0, 0), "a request without an id is sampled under one of its own"


def test_what_the_monitor_says_it_has_taken_is_sent_and_the_rest_is_lost_with_the_connection(sampler: Sampler) -> None:
    with listening() as monitor:
        sampler.configure(percent=100, port=monitor.getsockname()[1])
        sampler.turn()
        for number in range(5):
            sampler.take(number)
        sampler.turn()
        connection, _ = monitor.accept()
        connection.settimeout(10)
        buffer, frames = bytearray(), []
        while len(frames) < 7:
            buffer += connection.recv(65536)
            while (frame := take_frame(buffer)) is not None:
                frames.append(frame)
        assert Introduction.from_frame(frames[0]).revision == "7"
        assert Figures.from_frame(frames[1]) == (5, 0)
        assert [Exchange.from_frame(frame).request_id for frame in frames[2:]] == [f"r{n}" for n in range(5)]
        connection.sendall(write_count(3))
        connection.close()
    sampler.turn()
    assert sampler.counted() == (5, 3, 0, 2)


def test_samples_that_were_taken_before_it_ended_are_still_sent(sampler: Sampler) -> None:
    with listening() as monitor:
        sampler.configure(percent=100, port=monitor.getsockname()[1])
        sampler.turn()
        sampler.take(1)
        sampler.turn()
        sampler.take(2)
        sampler.switch_off()
        sampler.turn()
        sampler.take(3)
        connection, _ = monitor.accept()
        with connection:
            connection.settimeout(10)
            buffer = bytearray()
            while b'"r2"' not in buffer:
                buffer += connection.recv(65536)
            connection.sendall(write_count(2))
            while sampler.counted()[1] < 2:
                sampler.turn()
            sampler.turn()
            assert connection.recv(65536) == b""
        assert b'"r3"' not in buffer
    assert sampler.counted() == (2, 2, 0, 0)


def test_a_monitor_that_moves_is_followed_and_keeps_what_waits(sampler: Sampler) -> None:
    sampler.configure(percent=100, port=1)
    sampler.turn()
    sampler.take(1)
    with listening() as monitor:
        sampler.configure(percent=100, port=monitor.getsockname()[1])
        sampler.turn()
        connection, _ = monitor.accept()
        with connection:
            connection.settimeout(10)
            buffer = bytearray()
            while b'"r1"' not in buffer:
                buffer += connection.recv(65536)
            connection.sendall(write_count(1))
            connection.shutdown(socket.SHUT_WR)
            sampler.turn()
    assert sampler.counted() == (1, 1, 0, 0)

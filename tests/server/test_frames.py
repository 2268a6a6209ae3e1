"""What goes over the wire to a monitor: it comes back as it was, in whatever pieces; what is none of ours is refused."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelendpoint_server.errors import InvalidFrame
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.frames import Exchange, Figures, Introduction, take_counts, take_frame, write_count
from modelendpoint_server.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (None, 3)), TensorSpec("city", "BYTES", (None,))),
    (TensorSpec("label", "INT64", (None,)), TensorSpec("probabilities", "FP32", (None,), "sequence")),
    ("a", "b", "c"),
)
INTRODUCTION = Introduction(
    endpoint="churn",
    revision="7",
    variant="next",
    sha256="0" * 64,
    signature=SIGNATURE,
    limits=Limits(max_rows=10, max_nesting=4, null_is_nan=True),
)
exchanges = st.builds(
    Exchange,
    request_id=st.text(),
    time=st.floats(0, 2e9),
    protocol=st.sampled_from(["rest", "v2"]),
    status=st.integers(100, 599),
    request=st.binary(),
    answer=st.binary(),
    content_type=st.text(),
    parameters=st.dictionaries(st.text(), st.text()),
    header_length=st.none() | st.text(),
    answer_type=st.text(),
    answer_header_length=st.none() | st.integers(0, 2**31),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(exchanges, max_size=4), st.integers(1, 40))
def test_exchanges_come_back_as_they_were_in_whatever_pieces(sent: list[Exchange], piece: int) -> None:
    data = INTRODUCTION.as_bytes() + b"".join(part for exchange in sent for part in exchange.as_parts())
    buffer, frames = bytearray(), []
    for start in range(0, len(data), piece):
        buffer += data[start : start + piece]
        while (frame := take_frame(buffer)) is not None:
            frames.append(frame)
    assert not buffer
    assert Introduction.from_frame(frames[0]) == INTRODUCTION
    assert [Exchange.from_frame(frame) for frame in frames[1:]] == sent


def test_figures_come_back_and_are_told_from_exchanges() -> None:
    frame = take_frame(bytearray(Figures(12, 3).as_bytes()))
    assert frame is not None
    assert Figures.from_frame(frame) == Figures(12, 3)
    with pytest.raises(InvalidFrame):
        Figures.from_frame(frame._replace(head=b"figures 5"))


@given(st.binary(max_size=200))
def test_what_is_no_frame_of_ours_is_an_invalid_frame_and_nothing_else(data: bytes) -> None:
    for buffer in (bytearray(data), bytearray(struct.pack(">III", len(data), 0, 0) + data)):
        try:
            while (frame := take_frame(buffer)) is not None:
                assert Figures.from_frame(frame) is None
                for kind in (Introduction, Exchange):
                    with pytest.raises(InvalidFrame):
                        kind.from_frame(frame)  # type: ignore[attr-defined]
        except InvalidFrame:
            continue


def test_a_frame_that_says_it_is_huge_is_not_waited_for() -> None:
    with pytest.raises(InvalidFrame, match="too long"):
        take_frame(bytearray(struct.pack(">III", 10, 2**31, 0)))


@given(st.lists(st.integers(0, 1000), max_size=5), st.integers(0, 3))
def test_counts_are_added_up_and_the_rest_of_one_is_waited_for(counts: list[int], more: int) -> None:
    buffer = bytearray(b"".join(map(write_count, counts)) + bytes(more))
    assert take_counts(buffer) == sum(counts)
    assert len(buffer) == more

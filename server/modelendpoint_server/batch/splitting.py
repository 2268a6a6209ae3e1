"""Where one record ends and the next begins in text. Pure: bytes in, positions and chunks out.

JSON Lines are easy: a line end ends a record. In CSV a line end may stand inside quotes. A quote opens a field only at its
beginning, and closes it unless a second one follows at once; elsewhere it is a character like any other. When every quote
that would open a field by mere counting stands at the beginning of one (nearly always), counting is right and NumPy can do
it; else the text is walked quote by quote.
"""

import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from modelendpoint_server.batch.errors import InvalidInput

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""A file may begin with it; elsewhere it is a character of a row, though pyarrow drops it wherever a chunk begins."""
LONGEST_RECORD = 64 * 2**20
"""Bytes; a record that is longer is taken for a quote that nobody closed."""

_NEWLINE, _RETURN, _QUOTE, _COMMA = 10, 13, 34, 44
_TOKENS = re.compile(rb'["\n]')

Positions = NDArray[np.int64]


def record_ends(text: bytes, *, quotes: bool) -> Positions:
    """Return the positions just behind each line end that ends a record or an empty line; the text begins with a record."""
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    if quotes and b'"' in text:
        positions = np.flatnonzero(data == _QUOTE)
        if not _are_regular(data, positions):
            return _walk(text) + 1
        newlines = newlines[np.searchsorted(positions, newlines) % 2 == 0]
    return newlines + 1


def _are_regular(data: NDArray[np.uint8], quotes: Positions) -> bool:
    """Tell whether each quote that opens by counting is where a field begins, or right behind the one that closed."""
    opening = quotes[::2]
    if opening[0] == 0:
        opening = opening[1:]
    before = data[opening - 1]
    return bool(((before == _COMMA) | (before == _NEWLINE) | (before == _RETURN) | (before == _QUOTE)).all())


def _walk(text: bytes) -> Positions:
    ends: list[int] = []
    inside, closed_at = False, -2
    for match in _TOKENS.finditer(text):
        at = match.start()
        if text[at] == _NEWLINE:
            if not inside:
                ends.append(at)
        elif inside:
            inside, closed_at = False, at
        else:
            # Two quotes in a row inside a field stand for one in its text.
            inside = at == 0 or text[at - 1] in (_COMMA, _NEWLINE, _RETURN) or closed_at == at - 1
    return np.array(ends, np.int64)


def has_stray_returns(text: bytes) -> bool:
    """Tell whether a carriage return may stand outside quotes without a newline behind it.

    Some readers of CSV end a record there and some do not. Here none ends, so that a row has one number, whoever counts.
    """
    if b"\r" not in text:
        return False
    data = np.frombuffer(text, np.uint8)
    returns = np.flatnonzero(data == _RETURN)
    stray = returns[data[np.minimum(returns + 1, len(data) - 1)] != _NEWLINE]
    if not len(stray) or b'"' not in text:
        return bool(len(stray))
    quotes = np.flatnonzero(data == _QUOTE)
    return not _are_regular(data, quotes) or bool((np.searchsorted(quotes, stray) % 2 == 0).any())


def whole_records(blocks: Iterable[bytes], *, quotes: bool, shown: str) -> Iterator[bytes]:
    """Cut a file's bytes into chunks of whole records, each about as long as a block; together they are the file."""
    rest = b""
    for block in blocks:
        text = rest + block if rest else block
        end = _last_end(text, quotes=quotes)
        if not end:
            if len(text) > LONGEST_RECORD:
                raise _too_long(text, shown)
            rest = text
            continue
        yield text[:end]
        rest = text[end:]
    if rest:
        yield rest


def _last_end(text: bytes, *, quotes: bool) -> int:
    """Return where the last record ends that ends in the text, or 0."""
    if not quotes or b'"' not in text:
        return text.rfind(b"\n") + 1
    ends = record_ends(text, quotes=True)
    return int(ends[-1]) if len(ends) else 0


def _too_long(text: bytes, shown: str) -> InvalidInput:
    beginning = text[:60].decode("utf-8", "replace")
    return InvalidInput(
        f"{shown} has a record of more than {LONGEST_RECORD >> 20} MiB, which begins with {beginning!r}. Perhaps a quote"
        " there is never closed; correct the file."
    )


def record_starts(text: bytes, ends: Positions) -> Positions:
    """Return where each record begins, empty lines left out; the last may have no line end."""
    starts = np.concatenate([np.zeros(1, np.int64), ends])
    closed = np.concatenate([ends, np.array([len(text)], np.int64)])
    lengths = closed - starts
    data = np.frombuffer(text, np.uint8)
    is_empty = lengths == 0
    for length in (1, 2):
        some = np.flatnonzero(lengths == length)
        is_empty[some] = (data[starts[some]] == _NEWLINE) | ((length == 2) & (data[starts[some]] == _RETURN))
    last = len(lengths) - 1
    is_empty[last] = not text[int(starts[last]) :].strip(b"\r\n")
    result: Positions = starts[~is_empty]
    return result


def split_records(text: bytes, *, quotes: bool) -> list[bytes]:
    """Return each record of a chunk with its line end, empty lines left out."""
    ends = record_ends(text, quotes=quotes)
    starts = [0, *ends.tolist()]
    stops = [*ends.tolist(), len(text)]
    records = [text[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return [record for record in records if record.strip(b"\r\n")]

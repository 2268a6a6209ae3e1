"""A file's bytes as blocks, fetched ahead and unpacked; the same blocks each time, whatever the network does."""

import dataclasses
import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from modelendpoint_server.batch.errors import InvalidInput
from modelendpoint_server.batch.places import Source, StoredFile
from modelendpoint_server.batch.plan import InputFile, Piece
from modelendpoint_server.batch.specification import Compression

BLOCK = 4 * 2**20
"""Bytes that are worked on together; a block's rows and what becomes of them are what a thread holds in memory."""
_REQUEST = 8 * 2**20
_AHEAD = 3


class Reader:
    """Reads files of the input."""

    def __init__(self, source: Source, compression: Compression | None) -> None:
        self._source = source
        self._compression = compression

    def shown(self, file: InputFile) -> str:
        """Name a file for people."""
        return (
            f"{file.path} of {self._source.shown}" if not self._source.shown.endswith(file.path) else self._source.shown
        )

    def blocks(
        self, file: InputFile, piece: Piece | None = None, *, note: Callable[[str], None] | None = None
    ) -> Iterator[bytes]:
        """Yield a piece of a file, or all of it, in blocks of ``BLOCK`` bytes, unpacked.

        ``note`` gets the sha256 of what was read, as it is stored, when all was read.
        """
        start = piece.start if piece else 0
        end = piece.end if piece and piece.end is not None else file.size
        raw = self._fetched(_stored(file), start, end)
        if note is not None:
            raw = _noted(raw, note)
        packed = self.packing(file)
        return _even(raw) if packed is None else self._unpacked(raw, packed, file)

    def beginning(self, file: InputFile) -> bytes:
        """Return the first block of a file, or all of a smaller one."""
        few = dataclasses.replace(file, size=min(file.size, _REQUEST)) if file.size is not None else file
        return next(self.blocks(few), b"")

    def packing(self, file: InputFile) -> Compression | None:
        """Tell how a file is packed."""
        return self._compression or packing_of(file.path)

    def _fetched(self, file: StoredFile, start: int, end: int | None) -> Iterator[bytes]:
        if end is None:
            yield from self._source.stream(file)
            return
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="fetch") as pool:
            waiting: deque[Future[bytes]] = deque()
            try:
                for low in range(start, end, _REQUEST):
                    waiting.append(pool.submit(self._source.read, file, low, min(low + _REQUEST, end)))
                    if len(waiting) > _AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _unpacked(self, raw: Iterator[bytes], packed: Compression, file: InputFile) -> Iterator[bytes]:
        stream = pa.CompressedInputStream(pa.PythonFile(_Pipe(raw), mode="r"), packed.value)
        while True:
            try:
                block = stream.read(BLOCK)
            except (OSError, pa.ArrowInvalid) as error:
                raise InvalidInput(
                    f"{self.shown(file)} is no whole {packed} file ({_first_line(error)}). Upload it anew."
                ) from error
            if not block:
                return
            yield block

    def random_access(self, file: InputFile) -> "RandomAccess":
        """Open a file for reading anywhere in it."""
        if file.size is None:
            raise InvalidInput(
                f"{self.shown(file)} comes from a server that can't send parts of a file, which Parquet needs. Put it"
                " into an object store."
            )
        return RandomAccess(self._source, _stored(file), file.size)


class RandomAccess(io.RawIOBase):
    """A file of the input as pyarrow wants one: to seek in and read from."""

    def __init__(self, source: Source, file: StoredFile, size: int) -> None:
        self._source = source
        self._file = file
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be seeked in."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        parts = [self._source.read(self._file, low, min(low + _REQUEST, end)) for low in range(self._at, end, _REQUEST)]
        self._at = end
        return b"".join(parts)


class _Pipe(io.RawIOBase):
    """Blocks as a stream for the decompressor."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = block
        if size < 0:
            size = len(self._rest)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def packing_of(path: str) -> Compression | None:
    """Tell from its name how a file of text is packed."""
    name = path.lower()
    if name.endswith((".gz", ".gzip")):
        return Compression.GZIP
    return Compression.ZSTD if name.endswith((".zst", ".zstd")) else None


def _noted(pieces: Iterator[bytes], note: Callable[[str], None]) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    note(digest.hexdigest())


def _even(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Cut into blocks of equal size: where chunks of rows begin must not depend on how the bytes came."""
    rest = b""
    for piece in pieces:
        text = rest + piece if rest else piece
        whole = len(text) - len(text) % BLOCK
        for low in range(0, whole, BLOCK):
            yield text[low : low + BLOCK]
        rest = text[whole:]
    if rest:
        yield rest


def _stored(file: InputFile) -> StoredFile:
    return StoredFile(file.path, file.size, file.version)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

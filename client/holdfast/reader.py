"""One stream of a session's output, read like an `asyncio.StreamReader`.

Rules
- What is fed comes out once, in order; a gap comes out at its place, as an exception, and reading
  goes on behind it.
- A stream that somebody reads fills up to `FULL_BYTES`, and then the session's output is not taken
  from the server until there is room (`full`). A stream that nobody asked for must not hold up the
  other one: it keeps its last bytes, and who asks for it later gets a gap first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from holdfast.errors import Gap

__all__ = ["FULL_BYTES", "Reader"]

FULL_BYTES = 1024 * 1024


class Reader:
    """Bytes of stdout or stderr. `taken` is called after each read, when there is more room."""

    def __init__(self, taken: Callable[[], None]) -> None:
        self.wanted = False
        self._taken = taken
        self._chunks: deque[tuple[int, bytes] | Gap] = deque()
        self._at = 0  # how much of the first chunk is read
        self._size = 0
        self._failure: BaseException | None = None
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether nothing more should be fed for now."""
        return self._size >= FULL_BYTES

    @property
    def first_offset(self) -> int | None:
        """The offset of the first byte that nobody read yet; None when all is read."""
        if not self._chunks:
            return None
        first = self._chunks[0]
        return first.from_ if isinstance(first, Gap) else first[0] + self._at

    def at_eof(self) -> bool:
        """Whether everything was read and nothing more will come."""
        return self._ended and not self._chunks

    async def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes, at least one; with -1 everything up to the end or a gap.

        Returns b"" at the end. Raises `Gap` at a gap, and what ended the attachment, if that was
        an error.
        """
        if n == 0:
            return b""
        if n > 0:
            return self._take(n) if await self._available() else b""
        parts: list[bytes] = []
        while await self._available(after=bool(parts)):
            parts.append(self._take(FULL_BYTES))
        return b"".join(parts)

    async def readline(self) -> bytes:
        r"""Read a line with its b"\n"; without it at the end, before a gap, and after 1 MiB.

        Returns b"" at the end. Raises as `read`.
        """
        line = bytearray()
        while len(line) < FULL_BYTES and await self._available(after=bool(line)):
            chunk = self._front()[1]
            end = chunk.find(b"\n", self._at) + 1
            line += self._take((end or len(chunk)) - self._at)
            if end:
                break
        return bytes(line)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def feed(self, offset: int, content: bytes) -> None:
        """Append bytes whose first has `offset`."""
        self._chunks.append((offset, content))
        self._size += len(content)
        if not self.wanted:
            self._forget()
        self._changed.set()

    def feed_gap(self, gap: Gap) -> None:
        """Append a gap."""
        self._chunks.append(gap)
        self._changed.set()

    def end(self, failure: BaseException | None = None) -> None:
        """Nothing more will come; reads beyond what was fed raise `failure`, if there is one."""
        self._ended = True
        self._failure = self._failure or failure
        self._changed.set()

    async def _available(self, *, after: bool = False) -> bool:
        """Wait until bytes are there (True), or nothing more comes (False).

        With `after`, something was read already: what would be raised is left for the next read.
        """
        while not self._chunks:
            if self._ended:
                if self._failure and not after:
                    raise self._failure
                return False
            self._changed.clear()
            await self._changed.wait()
        first = self._chunks[0]
        if isinstance(first, Gap):
            if not after:
                self._chunks.popleft()
                raise first
            return False
        return True

    def _take(self, n: int) -> bytes:
        chunk = self._front()[1]
        content = chunk[self._at : self._at + n]
        self._at += len(content)
        if self._at == len(chunk):
            self._chunks.popleft()
            self._at = 0
        self._size -= len(content)
        self._taken()
        return content

    def _front(self) -> tuple[int, bytes]:
        first = self._chunks[0]
        if isinstance(first, Gap):  # `_available` raised it and took it away
            raise TypeError("a gap has no bytes")
        return first

    def _forget(self) -> None:
        """Drop the oldest chunks of a stream that nobody asked for, and say so at their place."""
        begin: int | None = None
        while self._size > FULL_BYTES and len(self._chunks) > 1:
            first = self._chunks.popleft()
            if isinstance(first, Gap):
                begin = first.from_ if begin is None else begin
            else:
                begin = first[0] if begin is None else begin
                self._size -= len(first[1])
        if begin is not None:
            first = self._chunks[0]
            end = first.from_ if isinstance(first, Gap) else first[0]
            self._chunks.appendleft(Gap(begin, end, "slow"))

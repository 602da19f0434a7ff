"""Where a session's output goes on this side: readers, callbacks, an iterator, or a collector.

A sink takes frames in the order of their offsets. `take` may wait: as long as it does, no more
output is taken from the server. `kept` is the lowest offset that its consumer does not have yet.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from typing import Protocol

from holdfast.errors import Gap
from holdfast.frames import Missed, Output, Stream
from holdfast.reader import FULL_BYTES, Reader

__all__ = ["Callback", "Collector", "Iteration", "OutputSink", "Readers", "call"]

Callback = Callable[[bytes], object]  # awaited when it is awaitable
Taken = Callable[[], None]


class OutputSink(Protocol):
    """What an attachment delivers output to."""

    @property
    def kept(self) -> int | None:
        """The lowest offset that the consumer does not have yet; None when it has all."""

    async def take(self, frame: Output | Missed) -> None:
        """Take the next bytes, or the news that some are missing."""

    def end(self, failure: BaseException | None) -> None:
        """Nothing more comes, because of `failure` if there is one."""


class Readers:
    """Two readers, or a callback in the place of either.

    `on_gap` is told of gaps where there are callbacks; without it a gap ends the attachment.
    """

    def __init__(
        self,
        taken: Taken,
        callbacks: dict[Stream, Callback],
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        self.streams: dict[Stream, Reader] = {
            "stdout": Reader(self._read),
            "stderr": Reader(self._read),
        }
        self._callbacks = callbacks
        self._on_gap = on_gap
        self._taken = taken
        self._room = asyncio.Event()

    @property
    def kept(self) -> int | None:
        """The lowest offset that nobody has read."""
        offsets = [reader.first_offset for reader in self.streams.values()]
        return min((offset for offset in offsets if offset is not None), default=None)

    async def take(self, frame: Output | Missed) -> None:
        """Feed a reader or call a callback; wait while a reader is full."""
        if isinstance(frame, Missed):
            self._miss(Gap(frame.from_, frame.to, frame.reason))
            return
        if callback := self._callbacks.get(frame.stream):
            await call(callback, frame.data)
            return
        self.streams[frame.stream].feed(frame.offset, frame.data)
        while any(reader.wanted and reader.full for reader in self.streams.values()):
            self._room.clear()
            await self._room.wait()

    def end(self, failure: BaseException | None) -> None:
        """End both readers."""
        for reader in self.streams.values():
            reader.end(failure)

    def _miss(self, gap: Gap) -> None:
        if self._callbacks:
            if self._on_gap is None:
                raise gap
            self._on_gap(gap)
        for stream, reader in self.streams.items():
            if stream not in self._callbacks:
                reader.feed_gap(Gap(gap.from_, gap.to, gap.reason))

    def _read(self) -> None:
        self._room.set()
        self._taken()


class Iteration:
    """An async iterator over both streams in the order of their offsets."""

    def __init__(self, taken: Taken, *, yield_gaps: bool) -> None:
        self._frames: deque[Output | Gap] = deque()
        self._size = 0
        self._taken = taken
        self._yield_gaps = yield_gaps
        self._changed = asyncio.Event()
        self._ended = False
        self._failure: BaseException | None = None

    @property
    def kept(self) -> int | None:
        """The lowest offset that was not yielded yet."""
        if not self._frames:
            return None
        first = self._frames[0]
        return first.from_ if isinstance(first, Gap) else first.offset

    async def take(self, frame: Output | Missed) -> None:
        """Queue a frame; wait while 1 MiB is queued."""
        if isinstance(frame, Missed):
            self._frames.append(Gap(frame.from_, frame.to, frame.reason))
        else:
            self._frames.append(frame)
            self._size += len(frame.data)
        self._changed.set()
        while self._size >= FULL_BYTES:
            self._changed.clear()
            await self._changed.wait()

    def end(self, failure: BaseException | None) -> None:
        """Let the iteration end behind what is queued, with `failure` if there is one."""
        self._ended = True
        self._failure = failure
        self._changed.set()

    async def next(self) -> Output | Gap | None:
        """Return the next frame; None at the end. Raises `Gap` unless gaps are yielded."""
        while not self._frames:
            if self._ended:
                if self._failure:
                    raise self._failure
                return None
            self._changed.clear()
            await self._changed.wait()
        frame = self._frames.popleft()
        if isinstance(frame, Gap):
            if not self._yield_gaps:
                raise frame
        else:
            self._size -= len(frame.data)
            self._changed.set()
        self._taken()
        return frame


class Collector:
    """Keeps all output in memory; a gap is an error. `collected` gives it back."""

    kept: int | None = None

    def __init__(self) -> None:
        self._parts: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}

    async def take(self, frame: Output | Missed) -> None:
        """Keep a frame. Raises `Gap`."""
        if isinstance(frame, Missed):
            raise Gap(frame.from_, frame.to, frame.reason)
        self._parts[frame.stream].append(frame.data)

    def end(self, failure: BaseException | None) -> None:
        """Nothing to do: who collects waits for the attachment itself."""

    def collected(self, stream: Stream) -> bytes:
        """Return all bytes of a stream so far."""
        return b"".join(self._parts[stream])


async def call(callback: Callable[..., object], *args: object) -> None:
    """Call what may be a plain or an async function."""
    result = callback(*args)
    if inspect.isawaitable(result):
        await result

"""Lines of several sessions in the order of their times, read no further ahead than needed.

Rules
- Of each session at most one read is held, together `HELD_BYTES`: a client that does not take
  its lines makes nothing wait and nothing grow; what a ring drops meanwhile is a gap in words.
- Within a session lines keep their order. Between sessions the earliest of those that are there
  comes first; what is printed later comes later, whatever its clock says.
- A source's places are right behind the last line that was taken of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final

from api.lanes import Filters, Lanes, Place
from api.lines import Line
from supervisor.output.reader import OffsetGone
from supervisor.session import Session

__all__ = ["HELD_BYTES", "LogGap", "LogMerge", "Source"]

HELD_BYTES: Final = 8 * 1024 * 1024
_READ_BYTES: Final = 64 * 1024
_LEAST_READ_BYTES: Final = 4 * 1024


@dataclass(frozen=True, slots=True)
class LogGap:
    """Output from `from_` up to `to` is no longer kept."""

    from_: int
    to: int
    time_ns: int


class Source:
    """One session's lines. `end`: the offset at which to stop, None to follow.

    `over`: told to the end; a restart of the session makes it go on.
    """

    def __init__(
        self, session: Session, filters: Filters, places: tuple[Place, Place], end: int | None
    ) -> None:
        self.session = session
        self.over = False
        self._end = end
        self._lanes = Lanes(filters, places)
        self._offset = self._lanes.consumed
        self._taken = self._read_to = places
        self._held: deque[tuple[Line | LogGap, tuple[Place, Place]]] = deque()
        self._time_ns = 0

    @property
    def places(self) -> tuple[Place, Place]:
        """Where to go on behind what was taken."""
        return self._taken if self._held else self._read_to

    @property
    def head_ns(self) -> int | None:
        """The time of the next line; None when none is held."""
        return self._held[0][0].time_ns if self._held else None

    @property
    def has_news(self) -> bool:
        """Whether `read` would find anything."""
        if self._offset < self._until:
            return True
        return not self.over and (self._end is not None or self.session.final)

    def take(self) -> Line | LogGap:
        """Return the next line and forget it."""
        item, self._taken = self._held.popleft()
        return item

    def read(self, max_bytes: int) -> None:
        """Read once."""
        final = self.session.final  # before reading: all output of a session that ended is there
        if self._offset < self._until:
            self.over = False
            self._read_some(max_bytes)
        elif final or self._end is not None:
            self.over = True
            self._hold(self._lanes.end())
        self._read_to = self._lanes.places()

    @property
    def _until(self) -> int:
        next_ = self.session.reader.next
        return next_ if self._end is None else min(self._end, next_)

    def _read_some(self, max_bytes: int) -> None:
        try:
            spans = self.session.reader.spans(
                self._offset, min(max_bytes, self._until - self._offset)
            )
        except OffsetGone as gone:
            self._hold(self._lanes.skip(gone.oldest))
            gap = LogGap(self._offset, gone.oldest, self._time_ns)
            self._held.append((gap, self._lanes.places()))
            self._offset = gone.oldest
            return
        self._hold(self._lanes.feed(spans))
        self._offset = spans[-1].offset + len(spans[-1].data)

    def _hold(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._held.append((line, self._lanes.places()))
            self._time_ns = line.time_ns


class LogMerge:
    """Sources by session ID, and their lines by time."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self._heads: list[tuple[int, int, Source]] = []
        self._order = count()

    @property
    def has_news(self) -> bool:
        """Whether something can be read that was not there at the last look."""
        return any(source.has_news for source in self.sources.values())

    async def look(self) -> None:
        """Read from every source that has no line held, until it has one or there is no more."""
        waiting = {id(source) for _, _, source in self._heads}
        for source in self.sources.values():
            if id(source) not in waiting:
                await self._fill(source)

    def take(self) -> tuple[Source, Line | LogGap] | None:
        """Return the earliest line that is held; None when there is none."""
        if not self._heads:
            return None
        source = heappop(self._heads)[2]
        return source, source.take()

    async def settle(self, source: Source) -> None:
        """To be called when the line taken last was told: find the next one of its source."""
        await self._fill(source)

    async def _fill(self, source: Source) -> None:
        each = min(_READ_BYTES, max(_LEAST_READ_BYTES, HELD_BYTES // len(self.sources)))
        while source.head_ns is None and source.has_news:
            source.read(each)
            await asyncio.sleep(0)  # others have their turn
        if (head_ns := source.head_ns) is not None:
            heappush(self._heads, (head_ns, next(self._order), source))

"""All that waits for the output of one session: new output is gone through once for all of them.

Rules
- Waits for the same pattern, stream and generation share one search as soon as it makes no
  difference: when they begin at the same offset, or when one that began elsewhere has come to the
  same place. A thousand of them cost one read and one match for each piece of new output.
- Nobody is woken by output that says nothing to him: only by a match, by a change of the session,
  or by the last piece of output of one that is over.
- The watch is there only while somebody waits. One task of its own follows the session; what it
  raises is raised in every wait. A wait that begins behind catches up by itself.
- When output last came is noted here, since those who wait for silence are not woken by it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from supervisor.broadcast import Broadcast
from supervisor.clock import Clock
from supervisor.log_search import LogSearch, Search
from supervisor.output.reader import LogReader
from supervisor.records import SessionRecord

__all__ = ["LogWatch", "Seat", "Watched", "watching"]

_Key = tuple[Search, int | None, int]


class Watched(Protocol):
    """What is asked of a session here."""

    record: SessionRecord
    version: int
    reader: LogReader
    changes: Broadcast

    @property
    def final(self) -> bool:
        """Whether it has ended and nothing follows."""

    def pids(self) -> list[int]:
        """Return the live processes of the tree."""


class Seat:
    """The place of one wait at a search that it may share."""

    __slots__ = ("_bell", "_shared", "_start")

    def __init__(self, shared: _Shared, start: int, bell: asyncio.Event) -> None:
        self._bell = bell
        self._start = start
        self.move(shared)

    @property
    def behind(self) -> bool:
        """Whether there is output that was not looked at."""
        return self._shared.behind

    def look(self) -> Mapping[str, Any] | None:
        """Search a piece of what nobody has searched; return the match, whoever found it."""
        return self._shared.look()

    def ring(self) -> None:
        """Wake its wait."""
        self._bell.set()

    def move(self, shared: _Shared) -> None:
        """Go on at another search, which stands at the same place."""
        self._shared = shared
        shared.seats.add(self)
        shared.starts[self._start] += 1

    def leave(self) -> bool:
        """Give the place up; return whether the search has nobody left."""
        self._shared.seats.discard(self)
        starts = self._shared.starts
        starts[self._start] -= 1
        if not starts[self._start]:
            del starts[self._start]
        return not self._shared.seats

    @property
    def shared(self) -> _Shared:
        """The search."""
        return self._shared


class _Shared:
    """One search, those who wait for its match, and the offsets at which they began."""

    __slots__ = ("_generation", "_search", "_session", "found", "key", "seats", "starts")

    def __init__(self, key: _Key, session: Watched, start: int) -> None:
        pattern, stream, generation = key
        self.key = key
        self.starts: Counter[int] = Counter()
        self.seats: set[Seat] = set()
        self.found: Mapping[str, Any] | None = None
        self._session = session
        self._generation = generation
        self._search = LogSearch(session.reader, pattern, start, stream)

    @property
    def behind(self) -> bool:
        """Whether there is output of its generation that was not looked at."""
        record = self._session.record
        if record.generation > self._generation:  # what follows was printed by another one
            self._search.limit = min(self._search.limit, record.generation_offset)
        return self.found is None and self._search.behind

    @property
    def over(self) -> bool:
        """Whether its generation prints no more."""
        record = self._session.record
        return record.generation > self._generation or record.state.over

    def look(self) -> Mapping[str, Any] | None:
        """Search a piece of what is new."""
        if self.behind:
            self.found = self._search.look()
        return self.found

    def is_at(self, other: _Shared) -> bool:
        """Whether both find the same from here on."""
        return self.found is other.found is None and self._search.place == other._search.place

    def ring(self) -> None:
        """Wake everyone who waits for it."""
        for seat in self.seats:
            seat.ring()


class LogWatch:
    """The waits for one session; made and ended by `watching`."""

    def __init__(self, session: Watched, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._shared: list[_Shared] = []
        self._bells: set[asyncio.Event] = set()
        self._version = session.version
        self._next = session.reader.next
        self._moved_at_s = clock.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._follow())
        self._task.add_done_callback(lambda _: self._ring_all())

    def moved_at_s(self) -> float:
        """Return when output last came while this watch was there, in monotonic seconds."""
        if self._session.reader.next != self._next:
            self._next = self._session.reader.next
            self._moved_at_s = self._clock.monotonic()
        return self._moved_at_s

    def join(self, bell: asyncio.Event) -> None:
        """Ring this bell from now on."""
        self._bells.add(bell)

    def seat(
        self,
        pattern: Search,
        stream: int | None,
        generation: int,
        start: int,
        bell: asyncio.Event,
    ) -> Seat:
        """Return a place at a search for `pattern` that begins at `start`."""
        key = pattern, stream, generation
        for shared in self._shared:
            if shared.key == key and start in shared.starts:
                return Seat(shared, start, bell)
        shared = _Shared(key, self._session, start)
        self._shared.append(shared)
        return Seat(shared, start, bell)

    def leave(self, bell: asyncio.Event, seats: list[Seat]) -> bool:
        """Ring it no more; return whether nobody is left."""
        self._bells.discard(bell)
        for seat in seats:
            if seat.leave():
                self._shared.remove(seat.shared)
        return not self._bells

    def check(self) -> None:
        """Raise what ended the watch, if anything did."""
        if self._task.done():
            self._task.result()

    async def end(self) -> None:
        """Stop following."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        """Look whenever the session moves, and wake whom it concerns."""
        while True:
            self.moved_at_s()
            if self._session.version != self._version:
                self._version = self._session.version
                self._ring_all()
            for shared in [one for one in self._shared if one.behind]:
                shared.look()
                if shared.found or (shared.over and not shared.behind):
                    shared.ring()
                if len(self._shared) > 1:
                    await asyncio.sleep(0)  # others have their turn
            self._join_searches()
            if any(shared.behind for shared in self._shared):
                await asyncio.sleep(0)
            else:
                await self._session.changes.wait()

    def _join_searches(self) -> None:
        """Make one of all searches for the same that have come to the same place."""
        if len(self._shared) == 1:
            return
        first: dict[_Key, list[_Shared]] = {}
        for shared in list(self._shared):
            others = first.setdefault(shared.key, [])
            same = next((other for other in others if shared.is_at(other)), None)
            if same is None:
                others.append(shared)
                continue
            for seat in shared.seats:
                seat.move(same)
            self._shared.remove(shared)

    def _ring_all(self) -> None:
        for bell in self._bells:
            bell.set()


# One watch for each session that somebody waits for, ended with the last of its waits.
_watches: Final[dict[Watched, LogWatch]] = {}


@asynccontextmanager
async def watching(
    session: Watched, clock: Clock, bell: asyncio.Event, seats: list[Seat]
) -> AsyncIterator[LogWatch]:
    """Ring `bell` while the block runs, whenever it may matter; `seats` are given up at its end."""
    watch = _watches.get(session)
    if watch is None:
        watch = _watches[session] = LogWatch(session, clock)
    watch.join(bell)
    try:
        yield watch
    finally:
        if watch.leave(bell, seats):
            del _watches[session]
            await watch.end()

"""The node's event log: numbered, durable before it is shown, resumable.

Rules
- An event gets its number when its change is handed to the store, and is shown when that change
  is durable. A lower number is never shown after a higher one, so that a reader who remembers
  the last number it saw misses nothing.
- A change that could not be stored leaves a hole in the numbers, never an event that did not
  happen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from supervisor.broadcast import Broadcast
from supervisor.clock import Clock
from supervisor.errors import Gone, StoreFailed
from supervisor.ports import Change, Store
from supervisor.records import Event, SessionRecord

__all__ = ["EventFeed"]

RECENT_EVENTS = 512


class EventFeed:
    """Commits changes together with the events that tell of them, and shows those in order."""

    def __init__(self, store: Store, clock: Clock, node: str) -> None:
        self.changes = Broadcast()
        self.oldest = 0
        self.last = 0
        self._store = store
        self._clock = clock
        self._node = node
        self._next = 1
        self._in_flight: deque[_Batch] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._recent: deque[Event] = deque(maxlen=RECENT_EVENTS)

    def resume(self, oldest: int, last: int) -> None:
        """Go on after the events that the store holds."""
        self.oldest, self.last, self._next = oldest, last, last + 1

    def event(
        self, kind: str, record: SessionRecord | None = None, data: Mapping[str, Any] | None = None
    ) -> Event:
        """Return a draft without a number; `commit` numbers it."""
        return Event(
            id=0,
            time_us=self._clock.wall_us(),
            type=kind,
            node=self._node,
            session=record.id if record else None,
            name=record.name if record else None,
            labels=record.labels if record else {},
            generation=record.generation if record else None,
            data=data or {},
        )

    async def commit(self, change: Change) -> None:
        """Store the change with its events numbered, then show them. Raises StoreFailed."""
        numbered = tuple(
            event.but(id=self._next + place) for place, event in enumerate(change.events)
        )
        self._next += len(numbered)
        batch = _Batch(numbered)
        self._in_flight.append(batch)
        try:
            await self._store.commit(change.but(events=numbered))
            batch.stored = True
        finally:
            batch.settled = True
            self._show()

    def later(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of the node itself without waiting; it may be lost with the database."""
        task = asyncio.get_running_loop().create_task(self._commit_quietly(kind, data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _commit_quietly(self, kind: str, data: Mapping[str, Any]) -> None:
        with suppress(StoreFailed):
            await self.commit(Change(events=(self.event(kind, data=data),)))

    async def page(self, after: int, limit: int) -> Sequence[Event]:
        """Return up to `limit` events after a number. Raises Gone when older ones were trimmed."""
        if self.oldest and after < self.oldest - 1:
            message = f"events up to {self.oldest - 1} are no longer kept: list again"
            raise Gone(message, oldest=self.oldest)
        if self._recent and after >= self._recent[0].id - 1:
            return self._newer(after)[:limit]
        stored = await self._store.events(after, limit)
        return [event for event in stored if event.id <= self.last]

    def _newer(self, after: int) -> list[Event]:
        """Return the recent events after a number; from the end, where most readers are."""
        newer = list(takewhile(lambda event: event.id > after, reversed(self._recent)))
        newer.reverse()
        return newer

    def trimmed(self, oldest: int) -> None:
        """Note that the store has deleted events below `oldest`."""
        self.oldest = oldest

    def _show(self) -> None:
        shown = False
        while self._in_flight and self._in_flight[0].settled:
            batch = self._in_flight.popleft()
            if batch.stored and batch.events:
                self._recent.extend(batch.events)
                self.last = batch.events[-1].id
                self.oldest = self.oldest or batch.events[0].id
                shown = True
        if shown:
            self.changes.notify()


class _Batch:
    """The events of one change that the store has not answered for."""

    __slots__ = ("events", "settled", "stored")

    def __init__(self, events: tuple[Event, ...]) -> None:
        self.events = events
        self.settled = False
        self.stored = False

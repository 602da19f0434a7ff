"""The commits of one session's record, with the events that tell of them.

Rules
- Each commit writes the whole record. Several may be under way, in the order in which they were
  begun, so an older record can never overwrite a newer one.
- What `later` was given goes with the next commit, at the latest after `LATER_S`: nothing waits
  for it, and a short command's start is stored together with its end. If the daemon dies before,
  the keeper still knows what was not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.errors import StoreFailed
from supervisor.ports import Change
from supervisor.records import Event, Receipt, SessionRecord

if TYPE_CHECKING:
    from supervisor.session_streams import SessionStreams

__all__ = ["Commits"]

LATER_S = 0.005


class Commits:
    """Stores one session's record."""

    __slots__ = ("_behind", "_events", "_flush_due", "_session", "_under_way")

    def __init__(self, session: SessionStreams) -> None:
        self._session = session
        self._events: list[Event] = []
        self._under_way = 0
        self._behind = False  # the record changed since the last commit was begun
        self._flush_due = False

    async def store(self, record: SessionRecord, told: tuple[Event | Receipt, ...] = ()) -> None:
        """Commit a record with all events that wait, and what is told now. Raises StoreFailed."""
        session = self._session
        waiting, self._events = self._events, []
        self._behind = False
        events = (*waiting, *(item for item in told if isinstance(item, Event)))
        receipts = tuple(item for item in told if isinstance(item, Receipt))
        record = record.but(last_output_at_us=session.last_output_at_us)
        self._under_way += 1
        try:
            change = Change(sessions=(record,), receipts=receipts, events=events)
            await session.node.feed.commit(change)
        except StoreFailed:
            self._events = waiting + self._events
            self._behind = True
            raise
        finally:
            self._under_way -= 1
        if self._behind:
            self.later()

    def later(self, *events: Event) -> None:
        """Commit the record as it then is, with these events, in a few milliseconds."""
        self._events.extend(events)
        self._behind = True
        if not self._flush_due:
            self._flush_due = True
            self._session.node.clock.call_later(LATER_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._behind and not self._under_way and not self._session.stopped:
            self._session.own(self._store_quietly())

    async def _store_quietly(self) -> None:
        if self._under_way:  # begun since: it writes a newer record, and the events with it
            return
        try:
            await self.store(self._session.record)
        except StoreFailed as error:
            self._session.node.report("a session's record could not be stored", error)

"""The store without a disk: for tests, and the second subject of the conformance suite.

Rules
- It keeps what SQLite would keep, encoded the same way: what cannot be stored there is refused
  here too.
- What was committed stays in the object over `close` and `open`, as a file would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from store.codec import Row, read, rows_of
from supervisor.errors import StoreFailed
from supervisor.ports import Change, Loaded, Trim
from supervisor.records import Event, Receipt, ReceiptState, SessionRecord, Token, Tombstone

__all__ = ["MemoryStore"]

KINDS = ("session", "receipt", "event", "tombstone", "token")


class MemoryStore:
    """Implements `supervisor.ports.Store`.

    `before_commit` is awaited with each change before it takes effect: a test delays it there, or
    raises StoreFailed to have it refused.
    """

    def __init__(self, before_commit: Callable[[Change], Awaitable[None]] | None = None) -> None:
        self.before_commit = before_commit
        self._tables: dict[str, dict[str | int, Row]] = {kind: {} for kind in KINDS}
        self._turn = asyncio.Lock()
        self._open = False

    async def open(self) -> Loaded:
        """Return what was committed so far."""
        self._turn = asyncio.Lock()  # A lock belongs to the loop in which it was first contended.
        self._open = True
        receipts = sorted(self._receipts(), key=lambda each: each.at_us)
        events = sorted(self._tables["event"])
        return Loaded(
            sessions=tuple(read(SessionRecord, text) for text in self._texts("session")),
            accepted=tuple(each for each in receipts if each.state is ReceiptState.ACCEPTED),
            tokens=tuple(read(Token, text) for text in self._texts("token")),
            oldest_event=int(events[0]) if events else 0,
            last_event=int(events[-1]) if events else 0,
        )

    async def close(self) -> None:
        """Refuse everything until the next `open`."""
        self._open = False

    async def commit(self, change: Change) -> None:
        """Take the change over. Raises StoreFailed, storing nothing."""
        self._check_open()
        rows = rows_of(change)
        async with self._turn:
            if self.before_commit is not None:
                await self.before_commit(change)
            self._apply(rows)

    async def receipt(self, command_id: str) -> Receipt | None:
        """Return the receipt of a command, whatever its state."""
        text = self._text("receipt", command_id)
        return None if text is None else read(Receipt, text)

    async def tombstone(self, session_id: str) -> Tombstone | None:
        """Return the tombstone of a pruned session."""
        text = self._text("tombstone", session_id)
        return None if text is None else read(Tombstone, text)

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Return at most `limit` events with an ID above `after`, oldest first."""
        self._check_open()
        table = self._tables["event"]
        chosen = sorted(int(each) for each in table if int(each) > after)[: max(limit, 0)]
        return tuple(read(Event, table[each].record or "") for each in chosen)

    async def trim(self, trim: Trim) -> int:
        """Delete what is over the bounds; return the oldest event ID kept."""
        self._check_open()
        self._drop_receipts(trim)
        tombstones = self._tables["tombstone"]
        for row in [*tombstones.values()]:
            if (row.at_us or 0) < trim.tombstones_before_us:
                del tombstones[row.id]
        events = self._tables["event"]
        ids = sorted(int(each) for each in events)
        kept = ids[-max(trim.events, 1) :]
        for each in ids[: len(ids) - len(kept)]:
            del events[each]
        return kept[0] if kept else 0

    def _apply(self, rows: Sequence[Row]) -> None:
        for row in rows:
            table = self._tables[row.kind]
            if row.record is None:
                table.pop(row.id, None)
            else:
                table[row.id] = row

    def _drop_receipts(self, trim: Trim) -> None:
        table = self._tables["receipt"]
        oldest_first = sorted(table.values(), key=lambda row: row.at_us or 0)
        over = len(table) - trim.receipts
        ended = [row for row in oldest_first if row.state != ReceiptState.ACCEPTED]
        for row in ended:
            if over > 0 or (row.at_us or 0) < trim.receipts_before_us:
                del table[row.id]
                over -= 1

    def _check_open(self) -> None:
        if not self._open:
            raise StoreFailed("The store is not open.")

    def _receipts(self) -> list[Receipt]:
        return [read(Receipt, text) for text in self._texts("receipt")]

    def _texts(self, kind: str) -> list[str]:
        return [row.record for row in self._tables[kind].values() if row.record is not None]

    def _text(self, kind: str, row_id: str) -> str | None:
        self._check_open()
        row = self._tables[kind].get(row_id)
        return None if row is None else row.record

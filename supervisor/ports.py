"""What the supervisor needs from outside, as Protocols; `store/` implements them.

Rules
- A `Change` is stored whole or not at all, and is durable against the death of the process when
  `commit` returns. Changes take effect in the order in which `commit` was called.
- No driver's exception crosses: `StoreFailed` is all that a caller sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from supervisor.records import Event, Receipt, Record, SessionRecord, Token, Tombstone

__all__ = ["Change", "Loaded", "Store", "Trim"]


class Change(Record, frozen=True, kw_only=True):
    """One atomic step of the node's truth. Rows replace those of the same ID.

    `removed` deletes session rows; `freed` deletes tombstones (so that an ID may start again).
    """

    sessions: tuple[SessionRecord, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    events: tuple[Event, ...] = ()
    removed: tuple[str, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    freed: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    tokens_removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a daemon reads once, at its start.

    `accepted` are the receipts still in state `accepted`, oldest first; event IDs are 0 when no
    event was ever stored.
    """

    sessions: tuple[SessionRecord, ...]
    accepted: tuple[Receipt, ...]
    tokens: tuple[Token, ...]
    oldest_event: int
    last_event: int


class Trim(Record, frozen=True, kw_only=True):
    """Upper bounds of what is kept besides sessions; a count of newest rows, a time in us."""

    events: int
    receipts: int
    receipts_before_us: int
    tombstones_before_us: int


class Store(Protocol):
    """The node's truth. One conformance suite runs against every implementation."""

    async def open(self) -> Loaded:
        """Open, migrate, and read what a starting daemon needs. Raises StartRefused."""

    async def close(self) -> None:
        """Commit what is queued and let go of the database."""

    async def commit(self, change: Change) -> None:
        """Store the change; durable when this returns. Raises StoreFailed, storing nothing.

        A cancelled commit may still take effect.
        """

    async def receipt(self, command_id: str) -> Receipt | None:
        """Return the receipt of a command, whatever its state."""

    async def tombstone(self, session_id: str) -> Tombstone | None:
        """Return the tombstone of a pruned session."""

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Return at most `limit` events with an ID above `after`, oldest first."""

    async def trim(self, trim: Trim) -> int:
        """Delete what is over the bounds, in small steps; return the oldest event ID kept."""

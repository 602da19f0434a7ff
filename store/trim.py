"""What a trim deletes from SQLite, as statements that each delete a little.

A large DELETE would hold up the commits behind it; these run between two groups of commits, each
repeated until it deletes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.ports import Trim

__all__ = ["STEP_ROWS", "TrimStep", "trim_steps"]

STEP_ROWS = 256
"""Rows that one statement deletes at most."""

EVENTS = f"""
DELETE FROM events WHERE id IN (
    SELECT id FROM events WHERE id <= (SELECT max(id) FROM events) - ? ORDER BY id LIMIT {STEP_ROWS}
)"""  # noqa: S608  # a constant of this file

OLD_RECEIPTS = f"""
DELETE FROM receipts WHERE rowid IN (
    SELECT rowid FROM receipts WHERE at_us < ? AND state <> 'accepted'
    ORDER BY at_us LIMIT {STEP_ROWS}
)"""  # noqa: S608  # the same

SPARE_RECEIPTS = f"""
DELETE FROM receipts WHERE rowid IN (
    SELECT rowid FROM receipts WHERE state <> 'accepted' ORDER BY at_us, rowid
    LIMIT max(0, min({STEP_ROWS}, (SELECT count(*) FROM receipts) - ?))
)"""  # noqa: S608  # the same

OLD_TOMBSTONES = f"""
DELETE FROM tombstones WHERE rowid IN (
    SELECT rowid FROM tombstones WHERE ended_at_us < ? ORDER BY ended_at_us LIMIT {STEP_ROWS}
)"""  # noqa: S608  # the same


@dataclass(frozen=True, slots=True)
class TrimStep:
    """One statement, to be repeated until it deletes no row."""

    sql: str
    parameters: tuple[int, ...]


def trim_steps(trim: Trim) -> tuple[TrimStep, ...]:
    """Return the statements that bring a database within the bounds.

    Event IDs have no holes but for events that could not be stored (`supervisor.feed`): those
    above `max - N` are the newest N, or a few less.
    """
    return (
        TrimStep(EVENTS, (max(trim.events, 1),)),
        TrimStep(OLD_RECEIPTS, (trim.receipts_before_us,)),
        TrimStep(SPARE_RECEIPTS, (trim.receipts,)),
        TrimStep(OLD_TOMBSTONES, (trim.tombstones_before_us,)),
    )

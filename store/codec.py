"""Records to rows and back.

Rules
- A stored record is one JSON document with every field of its Struct; reading it gives an equal
  record (a tuple inside a free-form mapping comes back as a list).
- A field that this version does not know is refused, never dropped: dropping it would lose what a
  newer version wrote, at the next replacement of the row.
- A change becomes rows in a fixed order: first what it deletes, then what it puts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec

from supervisor.errors import StoreFailed
from supervisor.ports import Change

__all__ = ["Row", "read", "rows_of"]

Record = TypeVar("Record")

_encode = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """One row to put, or to delete when `record` is None.

    `kind` is session, receipt, event, tombstone or token; `at_us` the time that a receipt or a
    tombstone ages by; `state` a receipt's; `record` JSON text.
    """

    kind: str
    id: str | int
    at_us: int | None = None
    state: str | None = None
    record: str | None = None


def rows_of(change: Change) -> list[Row]:
    """Return the rows of a change. Raises StoreFailed for what JSON cannot hold."""
    try:
        return [*_deletions(change), *_replacements(change)]
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        message = f"The change cannot be stored as JSON: {error}."
        raise StoreFailed(message) from error


def read(kind: type[Record], text: str) -> Record:
    """Return the record of that type which `text` holds. Raises StoreFailed when it does not."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        message = f"A stored {kind.__name__} cannot be read: {error}."
        raise StoreFailed(message, record=kind.__name__) from error


def _deletions(change: Change) -> list[Row]:
    return [
        *(Row("session", each) for each in change.removed),
        *(Row("tombstone", each) for each in change.freed),
        *(Row("token", each) for each in change.tokens_removed),
    ]


def _replacements(change: Change) -> list[Row]:
    return [
        *(Row("session", each.id, None, None, _text(each)) for each in change.sessions),
        *(
            Row("receipt", each.command_id, each.at_us, each.state.value, _text(each))
            for each in change.receipts
        ),
        *(Row("event", each.id, None, None, _text(each)) for each in change.events),
        *(
            Row("tombstone", each.id, each.ended_at_us, None, _text(each))
            for each in change.tombstones
        ),
        *(Row("token", each.accessor, None, None, _text(each)) for each in change.tokens),
    ]


def _text(record: Any) -> str:
    return _encode(record).decode()

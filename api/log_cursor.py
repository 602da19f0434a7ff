"""The place in a stream of many sessions' lines, as a word that a client keeps.

Rules
- A cursor is all that is needed to go on, also under another daemon: for each session the place of
  both streams, and a time for all sessions that are not listed.
- Sessions that ended and were told to their end are listed while they are few (`KEPT_FINISHED`);
  then the time moves behind the output of those that go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from api.errors import BadRequest
from api.lanes import Place

__all__ = ["KEPT_FINISHED", "Cursor", "Told", "advanced", "parse_cursor"]

KEPT_FINISHED: Final = 50

Places = tuple[Place, Place]
_Row = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Cursor:
    """`floor_us`: where sessions begin that have no place in `places`, by time, since the epoch."""

    floor_us: int = 0
    places: Mapping[str, Places] = field(default_factory=dict)

    def word(self) -> str:
        """Return it as one word of URL characters."""
        rows = {
            session: (stdout.offset, stderr.offset, stdout.after, stderr.after)
            for session, (stdout, stderr) in self.places.items()
        }
        packed = msgspec.json.encode((self.floor_us, rows))
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Told:
    """How far one session was told. `last_us`: when it ended and printed last; None: it goes on."""

    session: str
    places: Places
    last_us: int | None


def parse_cursor(word: str) -> Cursor:
    """Return the cursor that a word stands for. Raises BadRequest."""
    try:
        packed = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
        floor_us, rows = msgspec.json.decode(packed, type=tuple[int, dict[str, _Row]])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise BadRequest("The cursor is none of ours.", query="cursor") from error
    if floor_us < 0 or any(number < 0 for row in rows.values() for number in row):
        raise BadRequest("The cursor is none of ours.", query="cursor")
    places = {
        session: (Place(stdout, stdout_after), Place(stderr, stderr_after))
        for session, (stdout, stderr, stdout_after, stderr_after) in rows.items()
    }
    return Cursor(floor_us, places)


def advanced(floor_us: int, told: Iterable[Told]) -> Cursor:
    """Return the cursor behind what was told of each session."""
    by_end = sorted(told, key=lambda one: (one.last_us is None, one.last_us or 0))
    over = sum(1 for one in by_end if one.last_us is not None)
    gone = max(0, over - KEPT_FINISHED)
    for one in by_end[:gone]:
        floor_us = max(floor_us, (one.last_us or 0) + 1)
    return Cursor(floor_us, {one.session: one.places for one in by_end[gone:]})

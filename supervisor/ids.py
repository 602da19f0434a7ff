"""Session IDs that sort by time: 8 characters of time, 6 of chance, Crockford base32."""

from __future__ import annotations

import re
import secrets

from supervisor.clock import Clock

__all__ = ["ID_PATTERN", "is_id", "new_id"]

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARACTERS = 8
_RANDOM_CHARACTERS = 6
_TICK_US = 1000


def new_id(clock: Clock) -> str:
    """Return a fresh ID. The time wraps after 34 years; order within a millisecond is chance."""
    ticks = clock.wall_us() // _TICK_US
    chance = secrets.randbits(5 * _RANDOM_CHARACTERS)
    return _digits(ticks, _TIME_CHARACTERS) + _digits(chance, _RANDOM_CHARACTERS)


def is_id(text: str) -> bool:
    """Return whether the text may be a session's ID or name; safe as a file's name then."""
    return ID_PATTERN.fullmatch(text) is not None


def _digits(number: int, count: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(count)))

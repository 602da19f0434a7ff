"""IDs that the client chooses, so that a request sent twice means one thing done once."""

from __future__ import annotations

import secrets
import time

__all__ = ["new_id"]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TIME_CHARACTERS = 8
RANDOM_CHARACTERS = 6


def new_id() -> str:
    """Return a fresh ID: 8 characters of time in milliseconds, 6 of chance, Crockford base32."""
    chance = secrets.randbits(5 * RANDOM_CHARACTERS)
    return _digits(time.time_ns() // 1_000_000, TIME_CHARACTERS) + _digits(
        chance, RANDOM_CHARACTERS
    )


def _digits(number: int, count: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(count)))

"""The fields of a query string, read strictly: a typo never passes.

Rules
- An unknown field, a field given twice and a value of the wrong kind are refused in words (400).
- A moment is an RFC 3339 time with its zone, or a number: so many seconds ago.
- Numbers are plain decimal digits; flags are `true` or `false`, also `1`, `0`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from api.errors import BadRequest

__all__ = ["Query"]

_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_AGO: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_FLAGS: Final = {"true": True, "1": True, "": True, "false": False, "0": False}
_LARGEST: Final = (1 << 63) - 1


class Query:
    """The fields of one request. `known` are those that the route has; `repeated` may return."""

    def __init__(
        self, query_string: bytes, known: Collection[str], repeated: Collection[str] = ()
    ) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in _pairs(query_string):
            if name not in known:
                message = f"unknown query field {name!r}; known are {', '.join(sorted(known))}"
                raise BadRequest(message)
            values = self._fields.setdefault(name, [])
            if values and name not in repeated:
                raise BadRequest(f"query field {name!r} is given twice")
            values.append(value)

    def all(self, name: str) -> list[str]:
        """Return every value of a field that may be repeated."""
        return self._fields.get(name, [])

    def text(self, name: str) -> str | None:
        """Return the value, None when the field is not there."""
        values = self._fields.get(name)
        return values[0] if values else None

    def number(self, name: str, *, least: int = 0, most: int = _LARGEST) -> int | None:
        """Return a whole number from `least` to `most`."""
        value = self.text(name)
        if value is None:
            return None
        number = int(value) if _DIGITS.fullmatch(value) else -1
        if not least <= number <= most:
            raise BadRequest(f"{name} must be a whole number from {least} to {most}")
        return number

    def seconds(self, name: str, *, most: float) -> float | None:
        """Return a number of seconds from 0 to `most`."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= most:
            raise BadRequest(f"{name} must be a number of seconds from 0 to {most:g}")
        return number

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return one of some words."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise BadRequest(f"{name} must be one of {', '.join(choices)}")
        return value

    def flag(self, name: str) -> bool:
        """Return whether a flag is set; without a value it is."""
        value = self.text(name)
        if value is None:
            return False
        if value not in _FLAGS:
            raise BadRequest(f"{name} must be true or false")
        return _FLAGS[value]

    def since_us(self, name: str, now_us: int) -> int | None:
        """Return microseconds since the epoch, of an RFC 3339 time or of seconds before now."""
        value = self.text(name)
        if value is not None and _AGO.fullmatch(value):
            return now_us - round(float(value) * 1_000_000)
        return self.time_us(name)

    def time_us(self, name: str) -> int | None:
        """Return an RFC 3339 time as microseconds since the epoch."""
        value = self.text(name)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(value)
        except ValueError as error:
            raise BadRequest(f"{name} must be a time such as 2026-01-31T12:00:00Z") from error
        if time.tzinfo is None:
            raise BadRequest(f"{name} needs a time zone, such as the Z in 2026-01-31T12:00:00Z")
        return round(time.timestamp() * 1_000_000)


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=64,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest("the query string is not UTF-8 in percent encoding") from error

"""How far a reader of many sessions' lines is, so that it goes on there after a lost connection.

Rules
- Standard library only: `hold logs` starts with it.
- What was told behind the last cursor is remembered, since it is told again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LogPlace"]


class LogPlace:
    """`query` is what to ask for next; `take` says of each object whether it is to be shown."""

    def __init__(self, query: Mapping[str, Any]) -> None:
        self._query = dict(query)
        self._cursor: str | None = None
        self._since_cursor: set[tuple[Any, ...]] = set()

    @property
    def query(self) -> dict[str, Any]:
        """The query of the next request: from the beginning, or behind the last cursor."""
        if self._cursor is None:
            return self._query
        return {**self._query, "since": None, "tail_lines": None, "cursor": self._cursor}

    def take(self, told: Mapping[str, Any]) -> bool:
        """Note one object of the stream; return whether it is a line or a gap not seen before."""
        is_new = self._is_new(told)
        if "cursor" in told:
            self._cursor = told["cursor"]
            self._since_cursor.clear()
        return is_new

    def _is_new(self, told: Mapping[str, Any]) -> bool:
        if "gap" in told:
            key = (told["gap"]["session"], "gap", told["gap"]["from"])
        elif "line" in told:
            key = (told["session"], told["stream"], told["offset"])
        else:
            return False
        if key in self._since_cursor:
            return False
        self._since_cursor.add(key)
        return True

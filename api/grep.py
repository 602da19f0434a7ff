"""The lines of one stream that match a pattern, each with the lines around it.

Rules
- A line is shown once, however many matches it is near to.
- `held_at` and `after` are enough to go on elsewhere: read again from there, and count on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from api.lines import Line
from supervisor.log_search import Search

__all__ = ["Grep"]


class Grep:
    """Passes what matches, `context` lines before it and as many behind it.

    `after` is how many lines behind a former match are still to be shown.
    """

    __slots__ = ("_before", "_context", "_search", "after")

    def __init__(self, search: Search, context: int = 0, after: int = 0) -> None:
        self._search = search
        self._context = context
        self._before: deque[Line] = deque(maxlen=context)
        self.after = after

    @property
    def held_at(self) -> int | None:
        """The offset of the first line that a later match may still show."""
        return self._before[0].offset if self._before else None

    def matches(self, data: bytes) -> bool:
        """Return whether a line, with or without its line end, matches."""
        return self._search(data.removesuffix(b"\n").removesuffix(b"\r")) is not None

    def feed(self, line: Line) -> Iterator[Line]:
        """Yield the lines that are to be shown now."""
        if self.matches(line.data):
            yield from self._before
            self._before.clear()
            self.after = self._context
            yield line
        elif self.after:
            self.after -= 1
            yield line
        else:
            self._before.append(line)

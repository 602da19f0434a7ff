"""What is taken away from output before it is shown, both streams side by side.

Rules
- Each stream is a lane of its own: lines, then cleaning, then the search. Context lines are lines
  of the same stream.
- A lane's place is everything that is needed to go on exactly behind the lines that it gave out:
  the offset from which to read its stream again, and how many context lines are still to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from api.clean import cleaned
from api.errors import BadRequest, Invalid
from api.grep import Grep
from api.lines import Line, LineCutter
from api.query import Query
from api.wait import compile_search
from supervisor.log_search import Search
from supervisor.output.reader import Span

__all__ = ["FIELDS", "Filters", "Lanes", "Place", "parse_filters"]

FIELDS: Final = ("stream", "clean", "grep", "context")
"""The fields of a query that `parse_filters` reads."""

STREAMS: Final = {"stdout": 1, "stderr": 2}
_MOST_CONTEXT: Final = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """`stream`: only that one. `ansi`, `cr`: see clean.py. `search`: only lines that match."""

    stream: int | None = None
    ansi: bool = False
    cr: bool = False
    search: Search | None = None
    context: int = 0

    @property
    def by_line(self) -> bool:
        """Whether output has to be taken apart into lines."""
        return self.ansi or self.cr or self.search is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lane goes on: `offset` of the log, `after` context lines still to be shown."""

    offset: int
    after: int = 0


def parse_filters(query: Query) -> Filters:
    """Return what the query asks for. Raises BadRequest."""
    words = (query.text("clean") or "").split(",") if query.text("clean") is not None else []
    if unknown := [word for word in words if word not in ("ansi", "cr")]:
        raise BadRequest(f"clean is ansi, cr or ansi,cr, and not {unknown[0]!r}.")
    pattern, context = query.text("grep"), query.number("context", most=_MOST_CONTEXT)
    if context is not None and pattern is None:
        raise BadRequest("context belongs to grep: give a pattern too.")
    stream = query.choice("stream", tuple(STREAMS))
    return Filters(
        stream=STREAMS.get(stream or ""),
        ansi="ansi" in words,
        cr="cr" in words,
        search=None if pattern is None else _search(pattern),
        context=context or 0,
    )


def _search(pattern: str) -> Search:
    try:
        return compile_search(pattern, "grep")
    except Invalid as error:
        raise BadRequest(f"grep: {error}") from error


class Lanes:
    """Lines of one log as the filters leave them; `places` where each stream begins."""

    def __init__(self, filters: Filters, places: Sequence[Place]) -> None:
        wanted = [stream for stream in STREAMS.values() if filters.stream in (None, stream)]
        self._lanes = {stream: _Lane(stream, filters, places[stream - 1]) for stream in wanted}
        self.consumed = min(place.offset for place in places)

    def feed(self, spans: Iterable[Span]) -> Iterator[Line]:
        """Yield the lines that are to be shown now; `places` is right behind each of them."""
        for span in spans:
            self.consumed = span.offset
            lane = self._lanes.get(span.stream)
            if lane is not None:
                for line in lane.feed(span):
                    # Up to there nothing of the other stream can come.
                    self.consumed = max(self.consumed, line.next)
                    yield line
            self.consumed = span.offset + len(span.data)

    def end(self) -> Iterator[Line]:
        """Yield the lines that never ended."""
        for lane in self._lanes.values():
            yield from lane.end()

    def skip(self, to: int) -> Iterator[Line]:
        """The log no longer holds what lies before `to`: give out what the gap cut off."""
        yield from self.end()
        self.consumed = to
        for lane in self._lanes.values():
            lane.forget(to)

    def places(self) -> tuple[Place, Place]:
        """Return where each stream goes on, stdout first."""
        stdout, stderr = (self._place(stream) for stream in STREAMS.values())
        return stdout, stderr

    def _place(self, stream: int) -> Place:
        lane = self._lanes.get(stream)
        return Place(self.consumed) if lane is None else lane.place(self.consumed)


class _Lane:
    """One stream. `_at` is its place; where it is not `_pinned`, all that was read is behind it."""

    def __init__(self, stream: int, filters: Filters, place: Place) -> None:
        self._filters = filters
        self._begin = place.offset
        self._at, self._pinned = place, False
        self._lines = LineCutter(stream, states=filters.cr, ansi=filters.ansi)
        self._grep: Grep | None = None
        if filters.search is not None:
            self._grep = Grep(filters.search, filters.context, place.after)

    def feed(self, span: Span) -> Iterator[Line]:
        known = max(0, self._begin - span.offset)
        if known >= len(span.data):
            return
        if known:
            span = Span(self._begin, span.stream, span.data[known:], span.time_ns)
        self._pinned = True
        for line in self._lines.feed(span):
            yield from self._shown(line)
        if not self._held_by_search:
            held = self._lines.held_at
            end = span.offset + len(span.data)
            self._at = Place(end if held is None else held, self._at.after)
            self._pinned = held is not None

    def end(self) -> Iterator[Line]:
        for line in self._lines.end():
            shown = False
            for one in self._shown(line):
                shown = True
                yield one
            self._pinned = self._held_by_search or not shown
            if not shown and not self._held_by_search:  # its rest may make it match
                self._at = Place(line.offset, self._at.after)

    def forget(self, to: int) -> None:
        self._at, self._pinned = Place(to, self._at.after), False

    def place(self, consumed: int) -> Place:
        at = self._at
        return at if self._pinned else Place(max(consumed, at.offset), at.after)

    @property
    def _held_by_search(self) -> bool:
        return self._grep is not None and self._grep.held_at is not None

    def _shown(self, line: Line) -> Iterator[Line]:
        filters, grep = self._filters, self._grep
        data = cleaned(line.data, ansi=filters.ansi, cr=filters.cr)
        clean = line if data == line.data else replace(line, data=data)
        lines = [clean] if grep is None else list(grep.feed(clean))
        after = grep.after if grep is not None else 0
        for place, one in enumerate(lines, 1):
            follows = place < len(lines)
            self._at = Place(lines[place].offset) if follows else Place(one.next, after)
            yield one
        if not lines and grep is not None:
            held = grep.held_at
            self._at = Place(line.next if held is None else held, after)

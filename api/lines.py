"""Output of one stream, cut into lines that know where in the log they were.

Rules
- Where a chunk of output begins and ends is chance: the lines do not depend on it.
- A line of more than `LINE_BYTES` comes in parts, each cut before a character or an escape sequence
  that goes on. Of a line that is to show its last state only, the states before that are forgotten
  first, so that a progress bar of any length stays one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from api.clean import last_state_at, unfinished_escape_bytes
from api.text import incomplete_bytes
from supervisor.output.reader import Span
from supervisor.stream_bytes import StreamBytes

__all__ = ["LINE_BYTES", "Line", "LineCutter"]

LINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one stream, or a part of a long one.

    `offset` is that of its first byte in the log, `next` the offset behind its last one; `data` has
    the newline, if there was one, and may be shorter than that range. `time_ns` is when its first
    byte was taken, wall clock.
    """

    offset: int
    next: int
    stream: int
    time_ns: int
    data: bytes


class LineCutter:
    """The lines of one stream.

    `states`: only the last state of a line counts. `ansi`: escape sequences do not show (clean.py).
    """

    __slots__ = ("_ansi", "_began", "_held", "_states", "_stream", "_time_ns")

    def __init__(self, stream: int, *, states: bool = False, ansi: bool = False) -> None:
        self._stream = stream
        self._states = states
        self._ansi = ansi
        self._held = StreamBytes()
        self._began: int | None = None
        self._time_ns = 0

    @property
    def held_at(self) -> int | None:
        """The offset at which the unfinished line began; None when there is none."""
        return self._began

    def feed(self, span: Span) -> Iterator[Line]:
        """Yield the lines that are whole now."""
        at, data = 0, span.data
        while at < len(data):
            room = LINE_BYTES - len(self._held)
            newline = data.find(b"\n", at, at + room)
            end = newline + 1 or min(len(data), at + room)
            if self._began is None:
                self._began, self._time_ns = span.offset + at, span.time_ns
            self._held.append(span.offset + at, data[at:end])
            at = end
            if newline >= 0:
                yield self._cut(len(self._held))
            elif len(self._held) == LINE_BYTES:
                yield from self._make_room()

    def end(self) -> Iterator[Line]:
        """Yield the line that never ended."""
        if self._began is not None:
            yield self._cut(len(self._held))

    def _make_room(self) -> Iterator[Line]:
        """Forget states that were printed over, else give out a part."""
        held = bytes(self._held.data)
        if self._states and (at := last_state_at(held, ansi=self._ansi)) >= LINE_BYTES // 2:
            self._held.drop(at)
            return
        whole = LINE_BYTES - max(incomplete_bytes(held[-4:]), unfinished_escape_bytes(held))
        yield self._cut(whole)

    def _cut(self, size: int) -> Line:
        held, began = self._held, self._began
        data = bytes(held.data[:size])
        after = held.offset_at(size - 1) + 1
        line = Line(after if began is None else began, after, self._stream, self._time_ns, data)
        held.drop(size)
        self._began = held.offset_at(0) if len(held) else None
        return line

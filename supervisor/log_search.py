"""Searching a session's output for a line, as it grows.

Rules
- Lines of the two streams never mix; each stream has its own unfinished line.
- A line may be found before its end. What is kept of an unfinished line is its last 64 KiB.
- One look reads at most 256 KiB, so that a search through a long log shares the event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from supervisor.output.reader import LogReader, OffsetGone, Span
from supervisor.stream_bytes import StreamBytes

__all__ = ["LogSearch", "Search"]

Search = Callable[[bytes], tuple[int, int] | None]
"""Find the first match in some lines: its span in bytes. It must take linear time and never match
a newline, since where a piece of output begins and ends is chance."""

_LOOK_BYTES = 256 * 1024
_LINE_BYTES = 64 * 1024
_SHOWN_BYTES = 4096


class LogSearch:
    """One pattern, going through one log once. `stream` limits it to that one.

    `limit` is the offset at which to end; the owner may lower it.
    """

    __slots__ = ("_lines", "_offset", "_reader", "_search", "_stream", "limit")

    def __init__(
        self, reader: LogReader, search: Search, offset: int, stream: int | None = None
    ) -> None:
        self._reader = reader
        self._search = search
        self._offset = offset
        self._stream = stream
        self._lines: dict[int, StreamBytes] = {}
        self.limit: float = math.inf

    @property
    def place(self) -> tuple[int, dict[int, int]]:
        """Where it stands: the next offset, and how much it keeps of each unfinished line.

        Two searches for one pattern at the same place find the same from there on.
        """
        kept = {stream: len(lines) for stream, lines in self._lines.items() if len(lines)}
        return self._offset, kept

    @property
    def behind(self) -> bool:
        """Whether there is output that was not looked at."""
        return self._offset < min(self._reader.next, self.limit)

    def look(self) -> Mapping[str, Any] | None:
        """Search what is new; return `offset`, `line`, `match` and `stream` of a match."""
        until = int(min(self._offset + _LOOK_BYTES, self.limit))
        while self.behind and self._offset < until:
            for span in self._read(until - self._offset):
                self._offset = span.offset + len(span.data)
                if self._stream in (None, span.stream):
                    found = self._look_at(span)
                    if found is not None:
                        return found
        return None

    def _read(self, max_bytes: int) -> list[Span]:
        try:
            return self._reader.spans(self._offset, max_bytes)
        except OffsetGone as gone:
            self._offset = gone.oldest
            self._lines.clear()
            return []

    def _look_at(self, span: Span) -> Mapping[str, Any] | None:
        lines = self._lines.setdefault(span.stream, StreamBytes())
        lines.append(span.offset, span.data)
        text = bytes(lines.data)
        found = self._search(text)
        if found is not None:
            return _evidence(lines, text, found, span.stream)
        unfinished = len(text) - (text.rfind(b"\n") + 1)
        lines.drop(len(text) - min(unfinished, _LINE_BYTES))
        return None


def _evidence(
    lines: StreamBytes, text: bytes, found: tuple[int, int], stream: int
) -> Mapping[str, Any]:
    start, end = found
    line_start = max(text.rfind(b"\n", 0, start) + 1, start - _SHOWN_BYTES)
    line_end = text.find(b"\n", end)
    line_end = min(len(text) if line_end < 0 else line_end, line_start + 2 * _SHOWN_BYTES)
    return {
        "offset": lines.offset_at(start),
        "line": text[line_start:line_end].rstrip(b"\r").decode("utf-8", "replace"),
        "match": text[start : min(end, start + _SHOWN_BYTES)].decode("utf-8", "replace"),
        "stream": "stderr" if stream == 2 else "stdout",  # noqa: PLR2004  (Stream.STDERR)
    }

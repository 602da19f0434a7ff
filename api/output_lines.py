"""Output that was filtered, as lines: what each format makes of them, whole or head and tail.

Rules
- Lines are shown when they are whole; an unfinished one at the end of a page, at a gap and at the
  end of the session.
- Lines of jsonl have `next`: reading again from there loses nothing.
- Head and tail are cut as exec's output is (text.py). What was left out between them is named: by
  the header `Holdfast-Omitted: FROM-TO` in every format, in text by a line, in jsonl by an object.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from api.clean import cleaned, unfinished_escape_bytes
from api.lanes import Filters, Lanes, Place
from api.lines import Line
from api.text import HeadTail, decode, incomplete_bytes
from api.views import timestamp
from supervisor.output.reader import LogReader, Span
from supervisor.stream_bytes import StreamBytes

__all__ = ["FilteredLines", "Range", "head_and_tail", "page_end"]

_CHUNK_BYTES: Final = 256 * 1024


class FilteredLines:
    """The lines that the filters leave of a log from `start` on, in one of the formats."""

    def __init__(self, filters: Filters, start: int, format_: str, *, as_base64: bool) -> None:
        self._lanes = Lanes(filters, (Place(start), Place(start)))
        self._format = format_
        self._base64 = as_base64

    def all(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Everything of a whole range."""
        yield from self.pieces(spans)
        yield from self.rest()

    def pieces(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """What is shown of some output."""
        return (self._shown(line) for line in self._lanes.feed(spans))

    def rest(self) -> Iterator[bytes]:
        """What is left to show behind the last span."""
        return (self._shown(line) for line in self._lanes.end())

    def gap(self, from_: int, to: int) -> bytes | None:
        """How a gap is shown, behind what it cut off; None where it cannot be."""
        if self._format != "jsonl":
            return None
        cut_off = b"".join([self._shown(line) for line in self._lanes.skip(to)])
        return cut_off + msgspec.json.encode({"gap": {"from": from_, "to": to}}) + b"\n"

    def _shown(self, line: Line) -> bytes:
        if self._format != "jsonl":
            return _as_bytes(line, self._format)
        go_on = min(place.offset for place in self._lanes.places())
        return _as_json(line, go_on, as_base64=self._base64)


def _as_bytes(line: Line, format_: str) -> bytes:
    return decode(line.data).encode() if format_ == "text" else line.data


def _as_json(line: Line, next_: int, *, as_base64: bool) -> bytes:
    text = base64.b64encode(line.data).decode() if as_base64 else decode(line.data)
    fields = {
        "offset": line.offset,
        "next": next_,
        "time": timestamp(line.time_ns // 1000),
        "stream": "stderr" if line.stream == 2 else "stdout",  # noqa: PLR2004  (Stream.STDERR)
        "text": text,
    }
    return msgspec.json.encode(fields) + b"\n"


def page_end(spans: list[Span], start: int, filters: Filters) -> int:
    """Return where a page that begins at `start` had better end, given its last `LINE_BYTES`.

    Before a character or an escape sequence that goes on; and with a search before an unfinished
    line that does not match yet, so that the next page has the whole line. Only the stream that
    came last counts: for the other one nothing new may come for long.
    """
    end = spans[-1].offset + len(spans[-1].data)
    last = spans[-1].stream
    if filters.stream not in (None, last):
        return end
    held = StreamBytes()
    for span in spans:
        if span.stream == last:
            held.append(span.offset, span.data)
    line_at = held.data.rfind(b"\n") + 1
    line = bytes(held.data[line_at:])
    if not line:
        return end
    missing = max(incomplete_bytes(line), unfinished_escape_bytes(line))
    cut = held.offset_at(len(held) - missing) if missing else end
    if filters.search is not None and (line_at or spans[0].offset == start):
        shown = cleaned(line[: len(line) - missing], ansi=filters.ansi, cr=filters.cr)
        if filters.search(shown.removesuffix(b"\r")) is None:
            cut = held.offset_at(line_at)
    return cut if cut > start else end


async def head_and_tail(
    reader: LogReader, asked: Range, filters: Filters, max_bytes: int
) -> tuple[bytes, tuple[int, int] | None]:
    """Return the first and last of a range as an answer, and the offsets left out, or None.

    `max_bytes` counts what the filters leave. The range is read twice, so that never more than that
    is kept; output does not change meanwhile. Raises OffsetGone.
    """
    kept, size = HeadTail(max_bytes), 0
    async for line in _lines(reader, asked, filters):
        kept.append(size, line.data)  # counted in what is shown, since lines of two streams mix
        size += len(line.data)
    left_out = kept.result()[1]
    if left_out is None:
        shown = [_shown(line, asked) async for line in _lines(reader, asked, filters)]
        return b"".join(shown), None
    cut = _Cut(*left_out)
    head, tail = bytearray(), bytearray()
    async for line in _lines(reader, asked, filters):
        for part, is_tail in cut.parts(line):
            (tail if is_tail else head).extend(_shown(part, asked))
    return bytes(head + _mark(head, asked.format, cut) + tail), (cut.first, cut.last)


@dataclass(frozen=True, slots=True)
class Range:
    """A range of a log, and how to show it."""

    start: int
    end: int
    format: str
    base64: bool


@dataclass(slots=True)
class _Cut:
    """Leaves out the shown bytes `from_` to `to`; notes where in the log those are."""

    from_: int
    to: int
    at: int = 0
    first: int = -1
    last: int = -1

    def parts(self, line: Line) -> Iterator[tuple[Line, bool]]:
        """Yield what is kept of a line, and whether it belongs to the tail."""
        size = len(line.data)
        head = min(max(self.from_ - self.at, 0), size)
        tail = min(max(self.to - self.at, 0), size)
        self.at += size
        if head < tail:
            self.first = line.offset + head if self.first < 0 else self.first
            self.last = line.next if tail == size else line.offset + tail
        if head:
            yield _part(line, 0, head), False
        if tail < size:
            yield _part(line, tail, size), True


def _part(line: Line, start: int, end: int) -> Line:
    next_ = line.next if end == len(line.data) else line.offset + end
    return replace(line, offset=line.offset + start, next=next_, data=line.data[start:end])


def _shown(line: Line, asked: Range) -> bytes:
    if asked.format == "jsonl":
        return _as_json(line, line.next, as_base64=asked.base64)
    return _as_bytes(line, asked.format)


def _mark(head: bytes | bytearray, format_: str, cut: _Cut) -> bytes:
    """Return what stands between head and tail."""
    if format_ == "jsonl":
        return msgspec.json.encode({"omitted": {"from": cut.first, "to": cut.last}}) + b"\n"
    if format_ == "raw":
        return b""
    newline = "" if head.endswith(b"\n") or not head else "\n"
    return f"{newline}[... {cut.to - cut.from_} bytes left out ...]\n".encode()


async def _lines(reader: LogReader, asked: Range, filters: Filters) -> AsyncIterator[Line]:
    lanes, at = Lanes(filters, (Place(asked.start), Place(asked.start))), asked.start
    while at < asked.end:
        spans = reader.spans(at, min(_CHUNK_BYTES, asked.end - at))
        for line in lanes.feed(spans):
            yield line
        at = spans[-1].offset + len(spans[-1].data)
        await asyncio.sleep(0)  # others have their turn
    for line in lanes.end():
        yield line

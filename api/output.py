"""`GET /v1/sessions/{id}/output`: what a session printed, by offset, once or as it comes.

Rules
- Offsets count the bytes of both streams, also where only one of them is shown: `max_bytes` and
  the headers `Holdfast-Offset` and `Holdfast-Next-Offset` speak of that range.
- What the ring has dropped is never passed over in silence: 410 with the oldest offset before the
  answer has begun; after that a `gap` line in jsonl, and in raw and text a broken connection, since
  an answer that ends well would claim to be complete.
- Text ends before a character whose rest is still to come; the next read begins with it.
- `previous` is the range of the generation before this one.
- With `clean` or `grep` output is shown line by line (output_lines.py); offsets stay those of the
  log. `shape=head_tail` shows at most `max_bytes` of the whole range, its first and last lines.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.answers import services
from api.errors import BadRequest
from api.lanes import FIELDS as FILTERS
from api.lanes import Filters, parse_filters
from api.lines import LINE_BYTES
from api.output_lines import FilteredLines, Range, head_and_tail, page_end
from api.query import Query
from api.stream import Stream, StreamBroken
from api.text import Decoder, whole_characters_end
from api.views import timestamp
from supervisor.errors import Gone, NotFound
from supervisor.output.reader import LogReader, OffsetGone, Span
from supervisor.session import Session

__all__ = ["FIELDS", "get_output", "output_answer", "understand"]

_STARTS: Final = ("offset", "since", "tail_lines", "tail_bytes")
FIELDS: Final = (
    *_STARTS, *FILTERS, "max_bytes", "follow", "format", "encoding", "shape", "previous",
)  # fmt: skip
"""The fields of the query."""

_STREAMS: Final = {"stdout": 1, "stderr": 2}
_HEAD_TAIL_BYTES: Final = 64 * 1024
_NO_FILTERS: Final = Filters()
_MOST_HEAD_TAIL_BYTES: Final = 1024 * 1024
_TYPES: Final = {
    "raw": "application/octet-stream",
    "text": "text/plain; charset=utf-8",
    "jsonl": "application/jsonl",
}
_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Asked:
    """The range `start` to `end` (None: follow), and how to show it.

    `head_tail_bytes`: of the range only so much, its first and its last; None: all.
    """

    start: int
    end: int | None
    stream: int | None
    format: str
    base64: bool
    filters: Filters = _NO_FILTERS
    head_tail_bytes: int | None = None


async def get_output(request: Request) -> Response:
    """Answer with output, raw, as text, or as one JSON object for each piece."""
    supervisor = services(request).supervisor
    session = supervisor.find(request.path_params["id"])
    query = Query(request.scope["query_string"], FIELDS)
    return await output_answer(query, session, supervisor.clock.wall_us())


async def output_answer(query: Query, session: Session, now_us: int) -> Response:
    """Return the answer to a query. Raises BadRequest, Gone, NotFound."""
    asked = understand(query, session, now_us)
    headers = {"Holdfast-Offset": str(asked.start), "Content-Type": _TYPES[asked.format]}
    if asked.end is not None:
        headers["Holdfast-Next-Offset"] = str(asked.end)
        if asked.head_tail_bytes is not None:
            return await _head_tail(session.reader, asked, asked.end, headers)
        if asked.end - asked.start <= _PIECE_BYTES:
            spans = _read(session.reader, asked.start, asked.end)
            return Response(b"".join(_shown(asked).all(spans)), headers=headers)
    _probe(session.reader, asked.start)
    return Stream(_pieces(session, asked), headers)


async def _head_tail(
    reader: LogReader, asked: _Asked, end: int, headers: dict[str, str]
) -> Response:
    range_ = Range(asked.start, end, asked.format, asked.base64)
    try:
        body, omitted = await head_and_tail(
            reader, range_, asked.filters, asked.head_tail_bytes or _HEAD_TAIL_BYTES
        )
    except OffsetGone as gone:
        raise _gone(asked.start, gone.oldest) from gone
    if omitted is not None:
        headers["Holdfast-Omitted"] = f"{omitted[0]}-{omitted[1]}"
    return Response(body, headers=headers)


def understand(query: Query, session: Session, now_us: int = 0) -> _Asked:
    """Return the range that a query means now, and how to show it. Raises as `output_answer`."""
    if sum(query.text(name) is not None for name in _STARTS) > 1:
        raise BadRequest(f"Give only one of {', '.join(_STARTS)}.")
    reader = session.reader
    previous = _previous(query, session)
    start = previous[0] if previous else _start(query, reader, now_us)
    last = previous[1] if previous else reader.next
    format_ = query.choice("format", tuple(_TYPES)) or "raw"
    filters = parse_filters(query)
    encoding = query.choice("encoding", ("text", "base64")) or "text"
    if encoding == "base64" and format_ != "jsonl":
        raise BadRequest("encoding=base64 needs format=jsonl.")
    most = query.number("max_bytes", least=1)
    follow = query.flag("follow")
    if follow and most is not None:
        raise BadRequest("Give follow or max_bytes, not both.")
    head_tail = query.choice("shape", ("all", "head_tail")) == "head_tail"
    if head_tail and follow:
        raise BadRequest("Give follow or shape=head_tail, not both: what goes on has no tail.")
    if head_tail and (most or 0) > _MOST_HEAD_TAIL_BYTES:
        raise BadRequest(f"With shape=head_tail max_bytes is at most {_MOST_HEAD_TAIL_BYTES}.")
    is_base64 = encoding == "base64"
    shown = most or _HEAD_TAIL_BYTES if head_tail else None
    asked = _Asked(start, None, filters.stream, format_, is_base64, filters, shown)
    if follow:
        return asked
    end = last if most is None or head_tail else min(last, start + most)
    if end < last or (previous is None and not session.final):
        end = _better_end(reader, asked, end)
    return replace(asked, end=end)


def _better_end(reader: LogReader, asked: _Asked, end: int) -> int:
    """Return `end`, or where something begins that is not complete there."""
    if asked.filters.by_line:
        spans = _read(reader, max(asked.start, end - LINE_BYTES), end)
        return page_end(spans, asked.start, asked.filters) if spans else end
    if asked.format == "raw" or asked.base64:
        return end
    return _whole(reader, asked.start, end)


def _previous(query: Query, session: Session) -> tuple[int, int] | None:
    """Return what is asked for of the generation before this one, None for all of them."""
    if not query.flag("previous"):
        return None
    others = any(query.text(name) is not None for name in _STARTS if name != "offset")
    if others or query.flag("follow"):
        raise BadRequest(
            "previous goes with offset, and with none of since, tail_lines, tail_bytes, follow."
        )
    record, offset = session.record, query.number("offset") or 0
    if record.former_offset is None:
        message = f"session {record.id} is in its first generation: there is none before it"
        raise NotFound(message, generation=record.generation)
    start = max(offset, record.former_offset)
    if start < session.reader.oldest:
        raise _gone(start, session.reader.oldest)
    return min(start, record.generation_offset), record.generation_offset


def _start(query: Query, reader: LogReader, now_us: int) -> int:
    offset, since_us = query.number("offset"), query.since_us("since", now_us)
    lines, tail = query.number("tail_lines"), query.number("tail_bytes")
    if offset is not None:
        if offset > reader.next:
            message = f"Offset {offset} is ahead of the output, which ends at {reader.next}."
            raise BadRequest(message, next=reader.next)
        if offset < reader.oldest:
            raise _gone(offset, reader.oldest)
        return offset
    if since_us is not None:
        return reader.offset_since(since_us * 1000)
    if lines is not None or tail is not None:
        return reader.tail_offset(max_bytes=tail, lines=lines)
    return reader.oldest


def _whole(reader: LogReader, start: int, end: int) -> int:
    """Return `end`, or where a character begins that is not complete there."""
    spans = _read(reader, max(start, end - _PIECE_BYTES), end)
    cut = whole_characters_end(spans) if spans else end
    return cut if cut > start else end


def _read(reader: LogReader, start: int, end: int) -> list[Span]:
    """Return a short range as a whole. Raises Gone."""
    spans: list[Span] = []
    while start < end:
        try:
            spans += reader.spans(start, end - start)
        except OffsetGone as gone:
            raise _gone(start, gone.oldest) from gone
        start = spans[-1].offset + len(spans[-1].data)
    return spans


def _probe(reader: LogReader, offset: int) -> None:
    """Raise Gone now, while there is still a status line to say it in."""
    try:
        reader.spans(offset, 1)
    except OffsetGone as gone:
        raise _gone(offset, gone.oldest) from gone


def _gone(offset: int, oldest: int) -> Gone:
    message = f"Output at offset {offset} is no longer kept; the oldest is {oldest}."
    return Gone(message, oldest=oldest)


async def _pieces(session: Session, asked: _Asked) -> AsyncGenerator[bytes]:
    """Yield a long range, or what comes until the session has ended for good."""
    reader, shown, offset = session.reader, _shown(asked), asked.start
    while asked.end is None or offset < asked.end:
        final = session.final  # before reading: all output of a session that ended is there
        end = reader.next if asked.end is None else asked.end
        if offset >= end:
            if final:
                break
            await session.changes.wait()
            continue
        try:
            spans = reader.spans(offset, min(_PIECE_BYTES, end - offset))
        except OffsetGone as gone:
            line = shown.gap(offset, gone.oldest)
            if line is None:
                raise StreamBroken(f"output {offset} to {gone.oldest} was dropped") from gone
            offset = gone.oldest
            yield line
            continue
        offset = spans[-1].offset + len(spans[-1].data)
        yield b"".join(shown.pieces(spans))
        await asyncio.sleep(0)  # others have their turn, also while a search finds nothing
    yield b"".join(shown.rest())


def _shown(asked: _Asked) -> _Raw | FilteredLines:
    if asked.filters.by_line:
        return FilteredLines(asked.filters, asked.start, asked.format, as_base64=asked.base64)
    if asked.format == "raw":
        return _Raw(asked.stream)
    if asked.format == "text":
        return _Text(asked.stream)
    return _Base64Lines(asked.stream) if asked.base64 else _TextLines(asked.stream)


class _Raw:
    """The bytes as they are. The other formats differ in these methods."""

    def __init__(self, stream: int | None) -> None:
        self._stream = stream

    def all(self, spans: Iterable[Span]) -> Iterable[bytes]:
        """Everything of a whole range."""
        yield from self.pieces(spans)
        yield from self.rest()

    def pieces(self, spans: Iterable[Span]) -> Iterable[bytes]:
        """What is shown of some output."""
        for span in spans:
            if self._stream in (None, span.stream):
                yield self.piece(span)

    def piece(self, span: Span) -> bytes:
        """What is shown of one span."""
        return span.data

    def rest(self) -> Iterable[bytes]:
        """What is left to show behind the last span."""
        return ()

    def gap(self, from_: int, to: int) -> bytes | None:
        """How a gap is shown; None where it cannot be."""
        del from_, to
        return None


class _Text(_Raw):
    """UTF-8 with U+FFFD for what is none; each stream has its own unfinished character."""

    def __init__(self, stream: int | None) -> None:
        super().__init__(stream)
        self._decoders: dict[int, Decoder] = {}

    def piece(self, span: Span) -> bytes:
        """The text that is complete now."""
        return self._decoder(span.stream).feed(span.offset, span.data)[1].encode()

    def rest(self) -> Iterable[bytes]:
        """Characters that never came to their end."""
        for decoder in self._decoders.values():
            yield decoder.finish()[1].encode()

    def _decoder(self, stream: int) -> Decoder:
        return self._decoders.setdefault(stream, Decoder())


class _TextLines(_Text):
    """One JSON object for each piece of text."""

    def __init__(self, stream: int | None) -> None:
        super().__init__(stream)
        self._times: dict[int, int] = {}

    def piece(self, span: Span) -> bytes:
        """A line, or nothing while a character is incomplete."""
        self._times[span.stream] = span.time_ns
        offset, text = self._decoder(span.stream).feed(span.offset, span.data)
        return _line(offset, span.time_ns, span.stream, text) if text else b""

    def rest(self) -> Iterable[bytes]:
        """A line for each character that never came to its end."""
        for stream, decoder in self._decoders.items():
            offset, text = decoder.finish()
            if text:
                yield _line(offset, self._times[stream], stream, text)

    def gap(self, from_: int, to: int) -> bytes | None:
        """A line that names it, behind what it cut off."""
        return b"".join(self.rest()) + _gap_line(from_, to)


class _Base64Lines(_Raw):
    """One JSON object for each piece of bytes."""

    def piece(self, span: Span) -> bytes:
        """A line."""
        encoded = base64.b64encode(span.data).decode()
        return _line(span.offset, span.time_ns, span.stream, encoded)

    def gap(self, from_: int, to: int) -> bytes | None:
        """A line that names it."""
        return _gap_line(from_, to)


def _line(offset: int, time_ns: int, stream: int, text: str) -> bytes:
    name = "stderr" if stream == _STREAMS["stderr"] else "stdout"
    fields = {"offset": offset, "time": timestamp(time_ns // 1000), "stream": name, "text": text}
    return msgspec.json.encode(fields) + b"\n"


def _gap_line(from_: int, to: int) -> bytes:
    return msgspec.json.encode({"gap": {"from": from_, "to": to}}) + b"\n"

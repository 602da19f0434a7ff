"""`GET /v1/logs`: the output of many sessions as one stream of lines, by time, resumable.

Rules
- Sessions are chosen as `GET /v1/sessions` chooses them, and by `session` (ID or name, repeated).
  With `follow` those that match later join. It ends when named sessions have all ended for good;
  without names it goes on.
- `Accept: text/event-stream` gets server-sent events, anything else JSON lines. Both go on behind
  `Last-Event-ID`, else `cursor`; then `since` and `tail_lines` count no more.
- Every line carries the cursor behind it while there are few sessions (`FEW_SESSIONS`); else it
  comes by itself behind each batch, and lines told after the last one may be told again.
- A gap is a line of its own. A client that is slow waits for itself alone.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api import list_query
from api.answers import services
from api.errors import BadRequest
from api.lanes import FIELDS as FILTERS
from api.lanes import Filters, Place, parse_filters
from api.lines import Line
from api.list_query import ListQuery
from api.log_cursor import Cursor, Told, advanced, parse_cursor
from api.log_merge import LogGap, LogMerge, Source
from api.query import Query
from api.stream import Stream
from api.text import decode
from api.views import timestamp
from supervisor.broadcast import any_of
from supervisor.session import Session
from supervisor.supervisor import Supervisor

__all__ = ["COMMENT_S", "FEW_SESSIONS", "FIELDS", "MOST_SESSIONS", "get_logs"]

COMMENT_S: Final = 15.0
FEW_SESSIONS: Final = 16
MOST_SESSIONS: Final = 200  # a cursor has to fit into a request's header

_SELECT: Final = (*(name for name in list_query.FILTERS if name != "since"), "session")
FIELDS: Final = (*_SELECT, *FILTERS, "since", "tail_lines", "cursor", "follow", "encoding")
"""The fields of the query."""

_BATCH_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Asked:
    """`named`: IDs, None for all that match `query`. `cursor`: None at the very beginning."""

    query: ListQuery
    named: frozenset[str] | None
    filters: Filters
    since_us: int
    tail_lines: int | None
    cursor: Cursor | None
    follow: bool
    base64: bool
    events: bool


async def get_logs(request: Request) -> Response:
    """Answer with lines that are kept and, with `follow`, those that come."""
    supervisor = services(request).supervisor
    asked = _understand(request, supervisor)
    logs = _Logs(supervisor, asked)
    logs.begin()
    type_ = "text/event-stream" if asked.events else "application/jsonl"
    return Stream(logs.lines(), {"Content-Type": type_, "Cache-Control": "no-store"})


def _understand(request: Request, supervisor: Supervisor) -> _Asked:
    query = Query(request.scope["query_string"], FIELDS, repeated=_SELECT)
    pairs = [(name, value) for name in _SELECT if name != "session" for value in query.all(name)]
    named = [supervisor.find(ref).record.id for ref in query.all("session")]
    since_us = query.since_us("since", supervisor.clock.wall_us())
    tail_lines = query.number("tail_lines")
    if since_us is not None and tail_lines is not None:
        raise BadRequest("Give since or tail_lines, not both.")
    word = request.headers.get("last-event-id") or query.text("cursor")
    return _Asked(
        query=replace(list_query.parse(pairs), limit=list_query.MAX_LIMIT),
        named=frozenset(named) if named else None,
        filters=parse_filters(query),
        since_us=since_us or 0,
        tail_lines=tail_lines,
        cursor=None if word is None else parse_cursor(word),
        follow=query.flag("follow"),
        base64=query.choice("encoding", ("text", "base64")) == "base64",
        events="text/event-stream" in request.headers.get("accept", ""),
    )


class _Logs:
    """One client's stream. `begin` refuses, `lines` tells."""

    def __init__(self, supervisor: Supervisor, asked: _Asked) -> None:
        self._supervisor = supervisor
        self._asked = asked
        self._merge = LogMerge()
        self._floor_us = asked.since_us if asked.cursor is None else asked.cursor.floor_us
        self._seen = -1

    def begin(self) -> None:
        """Take up the sessions that match now. Raises BadRequest when they are too many."""
        chosen = self._chosen()
        if len(chosen) > MOST_SESSIONS:
            message = f"{len(chosen)} sessions match, and {MOST_SESSIONS} fit into one stream"
            raise BadRequest(f"{message}: narrow them by session, label, name or state.")
        tail = self._asked.tail_lines if self._asked.cursor is None else None
        for session in chosen:
            self._join(session, tail)
        self._seen = self._supervisor.feed.last

    async def lines(self) -> AsyncGenerator[bytes]:
        """Yield everything, in batches."""
        merge, follow = self._merge, self._asked.follow
        yield self._cursor_line()
        while True:
            if follow and self._supervisor.feed.last > self._seen:
                self._join_others()
            await merge.look()
            batch = bytearray()
            while len(batch) < _BATCH_BYTES and (taken := merge.take()) is not None:
                batch += self._told(*taken)
                await merge.settle(taken[0])
            if batch:
                yield bytes(batch) if self._is_few else bytes(batch) + self._cursor_line()
            elif self._is_over:
                break
            elif not self._has_news and not await self._changed() and self._asked.events:
                yield b": still here\n\n"
        yield self._cursor_line()

    @property
    def _is_few(self) -> bool:
        return len(self._merge.sources) <= FEW_SESSIONS

    @property
    def _is_over(self) -> bool:
        over = all(source.over for source in self._merge.sources.values())
        return over and (not self._asked.follow or self._asked.named is not None)

    @property
    def _has_news(self) -> bool:
        joined = self._asked.follow and self._supervisor.feed.last > self._seen
        return joined or self._merge.has_news

    async def _changed(self) -> bool:
        """Wait for news; between the last look and this nothing else ran."""
        bells = [source.session.changes for source in self._merge.sources.values()]
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMENT_S):
                await any_of([*bells, self._supervisor.feed.changes])
                return True
        return False

    def _chosen(self) -> list[Session]:
        sessions = list_query.select(self._supervisor.sessions(), self._asked.query)[0]
        named = self._asked.named
        return [
            one
            for one in sessions
            if (named is None or one.record.id in named) and not self._is_silent(one)
        ]

    def _is_silent(self, session: Session) -> bool:
        """Whether it has ended and nothing of it is to be told."""
        known = self._asked.cursor.places if self._asked.cursor is not None else {}
        if not session.final or session.record.id in known:
            return False
        return not session.has_output or (session.last_output_at_us or 0) < self._floor_us

    def _join(self, session: Session, tail_lines: int | None = None) -> None:
        reader, known = session.reader, self._asked.cursor
        places = known.places.get(session.record.id) if known is not None else None
        if places is None or places[0].offset > reader.next:  # another one by that ID
            start = reader.oldest
            if tail_lines is not None:
                start = reader.tail_offset(lines=tail_lines)
            elif self._floor_us:
                start = reader.offset_since(self._floor_us * 1000)
            places = (Place(start), Place(start))
        end = None if self._asked.follow else reader.next
        source = Source(session, self._asked.filters, places, end)
        self._merge.sources[session.record.id] = source

    def _join_others(self) -> None:
        """Take up sessions that match by now, while there is room, and leave those forgotten."""
        self._seen = self._supervisor.feed.last
        sources = self._merge.sources
        known = {session.record.id: session for session in self._supervisor.sessions()}
        for id_, source in list(sources.items()):
            if source.over and known.get(id_) is not source.session:
                del sources[id_]
        for session in self._chosen():
            live = sum(1 for source in sources.values() if not source.over)
            if session.record.id not in sources and live < MOST_SESSIONS:
                self._join(session)

    def _cursor(self) -> str:
        told = [
            Told(id_, source.places, _over_us(source))
            for id_, source in self._merge.sources.items()
        ]
        cursor = advanced(self._floor_us, told)
        return cursor.word()

    def _cursor_line(self) -> bytes:
        return self._encoded("cursor", {"cursor": self._cursor()})

    def _told(self, source: Source, item: Line | LogGap) -> bytes:
        record = source.session.record
        who = {"session": record.id, "name": record.name, "node": record.node}
        if isinstance(item, LogGap):
            return self._with_cursor("gap", {"gap": {**who, "from": item.from_, "to": item.to}})
        content = item.data.removesuffix(b"\n")
        fields: dict[str, Any] = {
            "time": timestamp(item.time_ns // 1000),
            **who,
            "stream": "stderr" if item.stream == 2 else "stdout",  # noqa: PLR2004  (Stream.STDERR)
            "offset": item.offset,
            "line": base64.b64encode(content).decode() if self._asked.base64 else decode(content),
        }
        if len(content) == len(item.data):
            fields["partial"] = True
        return self._with_cursor("message", fields)

    def _with_cursor(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        return self._encoded(kind, {**fields, "cursor": self._cursor()} if self._is_few else fields)

    def _encoded(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        content = msgspec.json.encode(fields)
        if not self._asked.events:
            return content + b"\n"
        id_ = f"id: {fields['cursor']}\n" if "cursor" in fields else ""
        event = "" if kind == "message" else f"event: {kind}\n"
        return f"{id_}{event}data: ".encode() + content + b"\n\n"


def _over_us(source: Source) -> int | None:
    """Return when a session that was told to its end printed last, or None."""
    record = source.session.record
    if not source.over or not source.session.final or source.head_ns is not None:
        return None
    return max(record.ended_at_us or 0, source.session.last_output_at_us or 0)

"""`GET /v1/events`: what happened on this node, as a page or as a stream that can be resumed.

Rules
- `Accept: text/event-stream` gets a stream, anything else a page.
- Both go on after `Last-Event-ID`, else `after`. Without either a page begins at the oldest event
  and a stream at what happens next.
- A cursor older than what is kept is 410 with the oldest; in a stream, where the status is sent
  already, it is the event `gone`, and the stream ends.
- A silent stream carries a comment every `COMMENT_S`, by which both sides see a dead connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.answers import Json, services
from api.errors import BadRequest, describe
from api.query import Query
from api.views import event_view
from supervisor.errors import Gone
from supervisor.feed import EventFeed
from supervisor.records import Event

__all__ = ["COMMENT_S", "get"]

COMMENT_S: Final = 15.0

_PAGE: Final = 500
_FILTERS: Final = ("type", "label", "name", "session")
_OTHERS: Final = ("after", "limit")


async def get(request: Request) -> Response:
    """Answer with events of the asked types, labels, names and sessions."""
    feed = services(request).supervisor.feed
    query = Query(request.scope["query_string"], (*_FILTERS, *_OTHERS), repeated=_FILTERS)
    filters = {name: wanted for name in _FILTERS if (wanted := query.all(name))}
    limited = query.number("limit")
    limit = _PAGE if limited is None else limited
    after = query.number("after")
    if last := request.headers.get("last-event-id"):
        after = _event_id(last)
    if "text/event-stream" not in request.headers.get("accept", ""):
        start = max(feed.oldest - 1, 0) if after is None else after
        return await _page(feed, start, min(max(limit, 1), _PAGE), filters)
    start = feed.last if after is None else after
    await feed.page(start, 1)  # raises Gone while the status can still say so
    return StreamingResponse(_stream(feed, start, filters), media_type="text/event-stream")


async def _page(
    feed: EventFeed, after: int, limit: int, filters: Mapping[str, Collection[str]]
) -> Response:
    """Answer with what passes among the next `limit` events; `next` is where to go on."""
    events = await feed.page(after, limit)
    shown = [event_view(event) for event in events if _passes(event, filters)]
    return Json({"items": shown, "next": events[-1].id if events else after})


async def _stream(
    feed: EventFeed, after: int, filters: Mapping[str, Collection[str]]
) -> AsyncIterator[bytes]:
    yield b": holdfast\n\n"  # opens the stream for clients that wait for a first byte
    while True:
        try:
            events = await feed.page(after, _PAGE)
        except Gone as error:
            yield b"event: gone\ndata: %b\n\n" % msgspec.json.encode(describe(error)[1])
            return
        for event in events:
            after = event.id
            if _passes(event, filters):
                yield _frame(event)
        # Between this check and the wait nothing else runs, so no change is missed.
        if not events and feed.last <= after and not await _changed(feed):
            yield b": still here\n\n"


async def _changed(feed: EventFeed) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(COMMENT_S):
            await feed.changes.wait()
            return True
    return False


def _frame(event: Event) -> bytes:
    """Return one server-sent event (HTML, 9.2): JSON holds no line break."""
    content = msgspec.json.encode(event_view(event))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.type.encode(), content)


def _passes(event: Event, filters: Mapping[str, Collection[str]]) -> bool:
    """Repeated filters mean or, different ones and; a label is `key` or `key=value`."""
    labels = {*event.labels, *(f"{key}={value}" for key, value in event.labels.items())}
    has: Mapping[str, Collection[str | None]] = {
        "type": (event.type,),
        "label": labels,
        "name": (event.name,),
        "session": (event.session,),
    }
    return all(not set(has[key]).isdisjoint(wanted) for key, wanted in filters.items())


def _event_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):  # noqa: PLR2004  (int64)
        raise BadRequest("Last-Event-ID is a number: the ID of an event.")
    return int(text)

"""The node's event log as a stream that goes on where it was after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from holdfast.backoff import Backoff
from holdfast.errors import NotReachable, ProtocolBroken, error_from
from holdfast.transport import Call, Transport
from holdfast.wire import ErrorBody, EventView

__all__ = ["EventPage", "follow_events"]


class EventPage(msgspec.Struct, frozen=True):
    """Events as they are kept; `next` is the ID after which to go on."""

    items: list[EventView]
    next: int


async def follow_events(
    transport: Transport, after: int | None, filters: dict[str, Any]
) -> AsyncGenerator[EventView, None]:
    """Yield events behind `after` as they come, None: those that are still to happen.

    Raises `Gone` when events behind `after` are no longer kept, `NotReachable` when the daemon
    stays away.
    """
    backoff = Backoff(transport.patience_s)
    if after is None:
        # A stream names its place with its first event only. Asked for before, the place is known
        # when the connection is lost earlier than that.
        after = await _newest(transport)
    while True:
        call = Call(
            method="GET",
            path="/v1/events",
            query={**filters, "after": after},
            headers={"Accept": "text/event-stream"},
        )
        try:
            async with transport.stream(call) as response:
                async for event in _parse(response.aiter_lines()):
                    backoff.reset()
                    after = event.id
                    yield event
        except NotReachable:
            delay = backoff.delay() if transport.reached else None
            if delay is None:
                raise
            await asyncio.sleep(delay)


async def _newest(transport: Transport) -> int:
    call = Call(method="GET", path="/v1/sessions", query={"limit": 1})
    cursor: int = msgspec.json.decode((await transport.request(call)).content)["event_cursor"]
    return cursor


async def _parse(lines: AsyncIterator[str]) -> AsyncGenerator[EventView, None]:
    """Yield the events of a text/event-stream; each has its JSON on one `data:` line."""
    kind = ""
    async for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            if kind == "gone":
                body = msgspec.json.decode(value, type=ErrorBody)
                raise error_from(body.code, body.message, body.details)
            try:
                yield msgspec.json.decode(value, type=EventView)
            except msgspec.MsgspecError as error:
                raise ProtocolBroken(f"an event is not understood: {error}") from error

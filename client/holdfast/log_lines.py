"""The lines of many sessions by time, through restarts of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.backoff import Backoff
from holdfast.errors import NotReachable, ProtocolBroken
from holdfast.log_place import LogPlace
from holdfast.transport import Call, Transport
from holdfast.wire import Answer

if TYPE_CHECKING:
    import httpx

__all__ = ["LogGap", "LogLine", "follow_lines"]


class LogLine(Answer, frozen=True, kw_only=True):
    """One line, without its newline (`partial`: it has none yet).

    `offset` is that of its first byte in the session's log, `time` when that was taken.
    """

    time: datetime
    session: str
    name: str | None
    node: str
    stream: Literal["stdout", "stderr"]
    offset: int
    line: str
    partial: bool = False


class LogGap(Answer, frozen=True, kw_only=True):
    """Output of a session from `from_` up to `to` is no longer kept."""

    session: str
    name: str | None
    node: str
    from_: int = msgspec.field(name="from")
    to: int


async def follow_lines(
    transport: Transport, sessions: Sequence[str], query: Mapping[str, Any], *, follow: bool
) -> AsyncGenerator[LogLine | LogGap, None]:
    """Yield lines and gaps; raises `NotReachable` when the daemon stays away."""
    named = {"session": list(sessions)} if sessions else {}
    place = LogPlace({**query, **named, "follow": follow or None})
    backoff = Backoff(transport.patience_s)
    while True:
        try:
            call = Call(method="GET", path="/v1/logs", query=place.query)
            async with transport.stream(call) as response, aclosing(_texts(response)) as texts:
                async for text in texts:
                    backoff.reset()
                    told = msgspec.json.decode(text)
                    if place.take(told):
                        yield _read(told)
            if sessions or not follow:
                return
            raise NotReachable("the stream of lines ended")
        except NotReachable:
            delay = backoff.delay() if transport.reached else None
            if delay is None:
                raise
            await asyncio.sleep(delay)
        except msgspec.MsgspecError as error:
            raise ProtocolBroken(f"a line is not understood: {error}") from error


async def _texts(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Yield the answer's lines; httpx would also split at U+2028, which JSON may hold."""
    held = b""
    async for piece in response.aiter_bytes():
        *whole, held = (held + piece).split(b"\n")
        for line in whole:
            yield line


def _read(told: Mapping[str, Any]) -> LogLine | LogGap:
    if "gap" in told:
        return msgspec.convert(told["gap"], LogGap)
    return msgspec.convert(told, LogLine)

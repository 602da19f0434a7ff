"""Reading a session's output without taking part in it: to its present end, or on and on."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from holdfast.calls import Calls
from holdfast.errors import BadRequest
from holdfast.frames import Output, Stream
from holdfast.options import OutputStart
from holdfast.session import Session

__all__ = ["read_logs"]


async def read_logs(
    calls: Calls,
    ref: str,
    *,
    follow: bool,
    stream: Stream | None,
    start: OutputStart,
) -> AsyncGenerator[Output, None]:
    """Yield output as an observer, from `start` to the present end or, with `follow`, the last."""
    view = await calls.get(ref)
    begin = await _begin(calls, view.id, view.output.oldest, start)
    end = view.output.next
    if begin >= end and not follow:
        return
    async with Session(calls, view, attach={"offset": begin, "role": "observer"}) as session:
        async for output in session.follow():
            if stream in (None, output.stream):
                yield output
            if not follow and output.offset + len(output.data) >= end:
                return


async def _begin(calls: Calls, ref: str, oldest: int, start: OutputStart) -> int:
    """Return the offset that `start` stands for; the server counts lines and knows the times."""
    if len(start) > 1:
        raise BadRequest(f"logs begin at one place, and these are several: {', '.join(start)}")
    if "offset" in start:
        return start["offset"]
    if not start:
        return oldest
    reply = await calls.output(ref, max_bytes=1, **start)
    return int(reply.headers["holdfast-offset"])

"""Reading a session's output without taking part in it: to its present end, or on and on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from holdfast.calls import Calls
from holdfast.errors import BadRequest
from holdfast.frames import Output, Stream
from holdfast.session import Session

__all__ = ["read_logs"]

STARTS = ("offset", "since", "tail_lines", "tail_bytes")


async def read_logs(
    calls: Calls,
    ref: str,
    *,
    follow: bool,
    stream: Stream | None,
    start: Mapping[str, Any],
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


async def _begin(calls: Calls, ref: str, oldest: int, start: Mapping[str, Any]) -> int:
    """Return the offset that `start` stands for; the server counts lines and knows the times."""
    if len(start) > 1 or any(name not in STARTS for name in start):
        raise BadRequest(f"logs begin at one of {', '.join(STARTS)}, not {', '.join(start)}")
    for name, value in start.items():
        if name == "offset":
            return int(value)
        reply = await calls.output(ref, **{name: value}, max_bytes=1)
        return int(reply.headers["holdfast-offset"])
    return oldest

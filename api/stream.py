"""A response whose body comes in time, and that ends when its client leaves.

Starlette's own always ends the body in good order, also after an error, so that a client could not
tell a complete body from one that was cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["Stream", "StreamBroken", "until_left"]

_log = structlog.get_logger("api.stream")


class StreamBroken(Exception):
    """The body cannot be completed: the connection is broken off, so that the client knows."""


class Stream(Response):
    """Sends each piece as it comes, and waits for the client to take it."""

    def __init__(self, pieces: AsyncGenerator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers})
        del self.headers["content-length"]  # of the empty body that this class does not have
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, until it ends, breaks, or the client leaves."""
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(until_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except StreamBroken as error:
            _log.warning("a response was broken off", path=scope["path"], why=str(error))
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def whole(self) -> bytes:
        """Return the body instead of sending it. Raises StreamBroken."""
        async with aclosing(self._pieces) as pieces:
            return b"".join([piece async for piece in pieces])

    async def _send_all(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        # An async generator that is only dropped would be closed by the garbage collector.
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass

"""What one attached client hears, checked as it comes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from api.attach_wire import HEAD
from tests.component.api.live.conftest import PATIENCE_S


class Heard:
    """Reads a connection. `offset` is where the next byte has to be; `gaps` are the exceptions."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.offset: int | None = None
        self.output = bytearray()
        self.streams: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.gaps: list[tuple[int, int, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.close_code: int | None = None

    async def next(self) -> dict[str, Any] | bytes | None:
        """One message; None when the connection is closed."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                message = await self.connection.recv()
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else None
            return None
        if isinstance(message, bytes):
            return self._frame(message)
        told: dict[str, Any] = json.loads(message)
        self.messages.append(told)
        if told["type"] == "gap":
            assert self.offset in (None, told["from"])
            self.gaps.append((told["from"], told["to"], told["reason"]))
            self.offset = told["to"]
        return told

    async def until(self, type_: str) -> dict[str, Any]:
        """Read on to a message of that type."""
        while (message := await self.next()) is not None:
            if isinstance(message, dict) and message["type"] == type_:
                return message
        raise AssertionError(f"closed with {self.close_code} before {type_}: {self.messages[-3:]}")

    async def until_output(self, wanted: bytes) -> None:
        """Read on until the output contains these bytes."""
        while wanted not in self.output:
            assert await self.next() is not None, (self.close_code, self.messages[-3:])

    async def to_the_end(self) -> int | None:
        """Read everything; return the close code."""
        while await self.next() is not None:
            pass
        return self.close_code

    async def says(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def types(self, data: bytes, offset: int) -> None:
        await self.connection.send(HEAD.pack(0, offset) + data)

    def types_of_messages(self) -> list[str]:
        return [message["type"] for message in self.messages]

    def _frame(self, message: bytes) -> bytes:
        kind, offset = HEAD.unpack_from(message)
        data = message[HEAD.size :]
        assert 0 < len(data) <= 65536
        assert self.offset in (None, offset)
        self.offset = offset + len(data)
        self.output += data
        self.streams[kind] += data
        return data

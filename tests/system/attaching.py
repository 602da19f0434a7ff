"""Attached clients over a raw socket: well-behaved, stuck, and broken ones.

The frames are RFC 6455's. A client here reads only when it is told to, so one that is not told
is stuck for certain: no library reads ahead for it.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from types import TracebackType
from typing import Any, Self

from api.attach_wire import HEAD
from holdfast.wire import SUBPROTOCOL
from tests.system.daemon import PATIENCE_S, Daemon

TEXT, BINARY, CLOSE = 1, 2, 8


class Attachment:
    """One WebSocket on a session. `offset` is that of the next byte of output."""

    def __init__(self, daemon: Daemon, ref: str, query: str = "", receive_bytes: int = 0) -> None:
        """`receive_bytes` bounds the socket's receive buffer; 0 leaves it as it is."""
        self.offset: int | None = None
        self.gaps = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(str(daemon.socket))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/sessions/{ref}/attach?{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        self._stream = self.socket.makefile("rb")
        status = self._stream.readline()
        assert status.startswith(b"HTTP/1.1 101 "), status
        while self._stream.readline() != b"\r\n":
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Vanish, without a farewell."""
        self._stream.close()
        self.socket.close()

    def say(self, **message: Any) -> None:
        """Send a text message."""
        self.frame(TEXT, json.dumps(message).encode())

    def type_in(self, data: bytes, offset: int) -> None:
        """Send input."""
        self.frame(BINARY, HEAD.pack(0, offset) + data)

    def frame(self, opcode: int, payload: bytes) -> None:
        """Send one frame, masked with zeros, as a client's must be masked."""
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            length = bytes([0x80 | 127]) + struct.pack(">Q", size)
        self.socket.sendall(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    def next(self) -> bytes | dict[str, Any]:
        """One message: output, checked to be continuous, or a text message.

        A close is `{"type": "close", "code": ...}`.
        """
        opcode, payload = self._frame()
        if opcode == CLOSE:
            return {"type": "close", "code": struct.unpack(">H", payload[:2])[0]}
        if opcode == BINARY:
            _, offset = HEAD.unpack_from(payload)
            data = payload[HEAD.size :]
            assert self.offset in (None, offset)
            self.offset = offset + len(data)
            return data
        if opcode != TEXT:
            return self.next()
        told: dict[str, Any] = json.loads(payload)
        if told["type"] == "gap":
            assert self.offset in (None, told["from"])
            self.offset = told["to"]
            self.gaps += 1
        return told

    def until(self, type_: str) -> dict[str, Any]:
        """Read on to a text message of that type."""
        while True:
            message = self.next()
            if isinstance(message, dict):
                if message["type"] == type_:
                    return message
                assert message["type"] != "close", message

    def until_close(self) -> int:
        """Read on to the close; its code."""
        while True:
            message = self.next()
            if isinstance(message, dict) and message["type"] == "close":
                code: int = message["code"]
                return code

    def until_output(self, wanted: bytes) -> None:
        """Read on until these bytes came, counted from here."""
        seen = b""
        while wanted not in seen:
            message = self.next()
            if isinstance(message, bytes):
                seen += message
            else:
                assert message["type"] != "close", message

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._exactly(8))
        return first & 0x0F, self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        data = self._stream.read(count)
        assert len(data) == count, "the connection ended"
        return data

"""A lean WebSocket client of one session (docs/protocol.md, "Attach"), on the unix socket.

Blocking, without checks a product would need: what is measured is the other side.
"""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any, Final

__all__ = ["Attached"]

_ACK_BYTES: Final = 1 << 20
_BUFFER_BYTES: Final = 1 << 20
_BINARY, _TEXT, _CLOSE = 2, 1, 8
_UPGRADE = (
    "GET /v1/sessions/{id}/attach?{query} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: holdfast.v1\r\n\r\n"
)


class Attached:
    """One attached client. `next` is the offset behind the last byte of output received."""

    def __init__(self, path: Path, session: str, query: str = "offset=0") -> None:
        self.next = 0
        self._acked = self._at = self._typed = 0
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.connect(str(path))
        self._sock.sendall(_UPGRADE.format(id=session, query=query).encode())
        self._buffer = bytearray()
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._fill()
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(self._buffer.decode(errors="replace"))
        del self._buffer[: end + 4]

    def until(self, type_: str) -> dict[str, Any]:
        """Receive until a text message of that type comes; return it."""
        while True:
            opcode, start, end = self._frame()
            if opcode == _TEXT:
                message: dict[str, Any] = json.loads(self._buffer[start:end])
                if message["type"] == type_:
                    return message
            elif opcode == _BINARY:
                self._took(start, end)
            elif opcode == _CLOSE:
                raise RuntimeError(f"closed: {self._buffer[start + 2 : end].decode()}")

    def take_output(self) -> None:
        """Receive until one frame of output has come."""
        while True:
            opcode, start, end = self._frame()
            if opcode == _BINARY:
                self._took(start, end)
                return

    def type_byte(self, byte: bytes) -> None:
        """Send the next byte of input; masked with zeros, as RFC 6455 allows."""
        self._send(_BINARY, struct.pack(">BQ", 0, self._typed) + byte)
        self._typed += 1

    def acknowledge(self) -> None:
        """Say that everything received is consumed, when a mebibyte of it is."""
        if self.next - self._acked >= _ACK_BYTES:
            self._acked = self.next
            self._send(_TEXT, json.dumps({"type": "ack", "offset": self.next}).encode())

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _took(self, start: int, end: int) -> None:
        _, offset = struct.unpack_from(">BQ", self._buffer, start)
        self.next = offset + end - start - 9
        self.acknowledge()

    def _frame(self) -> tuple[int, int, int]:
        """Return opcode, start and end in the buffer of the next frame's payload.

        A server's frames are not masked. The place is good until the next call.
        """
        if self._at == len(self._buffer) or self._at > _BUFFER_BYTES:
            del self._buffer[: self._at]
            self._at = 0
        at = self._at
        self._need(at + 2)
        opcode, length, head = self._buffer[at] & 15, self._buffer[at + 1] & 127, 2
        if length >= 126:
            head = 4 if length == 126 else 10
            self._need(at + head)
            length = int.from_bytes(self._buffer[at + 2 : at + head])
        start = at + head
        self._need(start + length)
        self._at = start + length
        return opcode, start, start + length

    def _need(self, count: int) -> None:
        while len(self._buffer) < count:
            self._fill()

    def _fill(self) -> None:
        piece = self._sock.recv(_BUFFER_BYTES)
        if not piece:
            raise RuntimeError("the daemon closed the connection")
        self._buffer += piece

    def _send(self, opcode: int, payload: bytes) -> None:
        self._sock.sendall(bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

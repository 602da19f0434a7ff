"""uvicorn's HTTP protocol with the limits it lacks, and the peer of a unix socket.

Rules
- A request's header is complete within `HEADER_DEADLINE_S` of its first byte (of the connection,
  for the first one) and at most `HEADER_BYTES` long, or the connection ends.
- No more than `HEADER_BYTES` and one read are ever held of bytes that are not body: httptools keeps
  a header line, or a chunked body's trailer, until it is complete, however long.
- Connections are limited; the unix socket keeps some that TCP cannot take.
- `scope["state"]["peer"]` is `(pid, uid, gid)` of a unix socket's client (unix(7), SO_PEERCRED)
  and not there on TCP. WebSockets inherit it: the upgrade passes `app_state` on.

uvicorn's protocol classes are internal: its version is pinned to a minor, and tests guard this.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from holdfast import wire

__all__ = ["HEADER_BYTES", "HEADER_DEADLINE_S", "HardenedProtocol"]

HEADER_DEADLINE_S: Final = 10.0
HEADER_BYTES: Final = 32 * 1024

_KEPT_FOR_UNIX: Final = 50
_PEER = struct.Struct("3i")


class HardenedProtocol(HttpToolsProtocol):
    """One connection. `config.limit_concurrency` is the limit of connections."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # uvicorn would answer in plain text, and count WebSockets twice.
        self._limit = config.limit_concurrency or 0
        self.limit_concurrency = None
        self._deadline: asyncio.TimerHandle | None = None
        self._refusal: tuple[int, str, str] | None = None
        self._unread_bytes = 0
        self._advanced = False

    # asyncio hands a BaseTransport; uvicorn names the kind that it gets, and so does this.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are too many."""
        super().connection_made(transport)
        peer = _peer(transport)
        kept = 0 if peer else min(_KEPT_FOR_UNIX, self._limit // 10)
        if peer:
            self.app_state = {**self.app_state, "peer": peer}
        if len(self.connections) > self._limit - kept:
            self._refuse(503, "UNAVAILABLE", "The daemon has as many connections as it may.")
        else:
            self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer with the connection."""
        self._header_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what did not become a header, a body or an end of one."""
        self._advanced = False
        super().data_received(data)
        self._unread_bytes = 0 if self._advanced else self._unread_bytes + len(data)
        if self._unread_bytes > HEADER_BYTES and not self.transport.is_closing():
            self._refuse_header()

    def on_message_begin(self) -> None:
        """Give each request of a kept connection its own deadline."""
        super().on_message_begin()
        if self._deadline is None:
            self._expect_header()

    def on_headers_complete(self) -> None:
        """Start the request, unless its header is too long."""
        self._header_arrived()
        self._advanced = True
        length = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if length > HEADER_BYTES:
            self._refusal = (431, "TOO_LARGE", _LONG_HEADER)
            # Leaves the parser as a parser error; uvicorn then calls send_400_response.
            raise httptools.HttpParserError(_LONG_HEADER)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that the request advances."""
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request advances."""
        self._advanced = True
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand over a request whose header is complete."""
        self._header_arrived()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the shape of all errors."""
        self._header_arrived()
        self._refuse(*(self._refusal or (400, "BAD_REQUEST", msg)))

    def _expect_header(self) -> None:
        self._deadline = self.loop.call_later(HEADER_DEADLINE_S, self._header_overdue)

    def _header_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _header_overdue(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse_header(self) -> None:
        self._header_arrived()
        self._refuse(431, "TOO_LARGE", _LONG_HEADER)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without the application and close."""
        error = wire.ErrorAnswer(error=wire.ErrorBody(code=code, message=message))
        content = msgspec.json.encode(error)
        self.transport.write(
            STATUS_LINE[status] + b"content-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % len(content) + content
        )
        self.transport.close()


_LONG_HEADER: Final = f"The header is longer than {HEADER_BYTES} bytes."


def _peer(transport: asyncio.Transport) -> tuple[int, int, int] | None:
    """Return pid, uid and gid of a unix socket's client as they were when it connected."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, gid = _PEER.unpack(packed)
    return pid, uid, gid

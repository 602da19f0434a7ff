"""One attachment: the attach protocol over WebSocket, through restarts of the daemon.

Rules
- The protocol decides, this performs. One task reads and one writes per connection; both end before
  the next connection begins.
- A connection that was lost is replaced at once, then with growing delays, until `patience_s` is
  over without a connection that lived for `PROVEN_S` or brought output. Where a daemon takes each
  connection and breaks it again, `BROKEN_TRIES` in a row are enough.
- What the sink does not take is not read from the socket: the server notices it, not the memory.
- Exceptions of the WebSocket library do not leave this module.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from holdfast.address import Address
from holdfast.backoff import Backoff
from holdfast.errors import (
    Conflict,
    Detached,
    HoldfastError,
    NotReachable,
    ProtocolBroken,
    error_from,
)
from holdfast.frames import Frame, Missed, Output
from holdfast.protocol import AttachProtocol
from holdfast.transport import Transport
from holdfast.tunnel import Tunnel, open_tunnel_async
from holdfast.wire import SUBPROTOCOL, ErrorAnswer

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Attachment", "Retrying", "Sink"]

Sink = Callable[[Frame], Awaitable[None]]
Retrying = Callable[[BaseException, int], None]

OPEN_S = 10.0
CLOSE_S = 2.0
PING_S = 20.0
PROVEN_S = 5.0
BROKEN_TRIES = 12  # about 8 s, with the delays between them
MESSAGE_BYTES = 16 * 1024 * 1024  # above any frame; a message of the server is never cut
QUEUED_FRAMES = 4

REPLACED = 4001
HELD = 4409
FATAL = {1002, 1003, 1007, 1009, 1010, 4413}


class Attachment:
    """Connects, reconnects and carries messages until the session ends.

    `retrying` is told why a connection was lost before each further try, and how many tries in a
    row have failed so far.
    """

    def __init__(
        self,
        transport: Transport,
        session_id: str,
        protocol: AttachProtocol,
        sink: Sink,
        retrying: Retrying | None = None,
    ) -> None:
        self.protocol = protocol
        self._transport = transport
        self._path = f"/v1/sessions/{quote(session_id, safe='')}/attach"
        self._sink = sink
        self._sendable = asyncio.Event()
        self._backoff = Backoff(transport.patience_s)
        self._retrying = retrying
        self._tries = self._broken = 0
        self._ws: ClientConnection | None = None
        self._tunnel: Tunnel | None = None

    async def run(self) -> None:
        """Carry everything until the session has ended for good.

        Raises the server's refusals, `NotReachable` when patience is over, `Detached` when another
        connection of the same client took over, and what the sink raises. A cancellation closes the
        connection and leaves the session as it is.
        """
        while not self.protocol.finished:
            cause = await self._connection()
            if self.protocol.finished:
                return
            if self._broken >= BROKEN_TRIES:
                shown = self._transport.address.shown
                raise NotReachable(f"the daemon at {shown} breaks every attachment: {cause}")
            delay = self._backoff.delay() if self._transport.reached else None
            if delay is None:
                raise self._transport.unreachable(cause) from cause
            self._tries += 1
            if self._retrying is not None:
                self._retrying(cause, self._tries)
            await asyncio.sleep(delay)

    def _proven(self) -> None:
        """The last connection did what it is for: what failed before counts no more."""
        self._backoff.reset()
        self._tries = self._broken = 0

    def wake(self) -> None:
        """Say that the protocol may have something to send."""
        self._sendable.set()

    async def _connection(self) -> BaseException:
        """Live through one connection, and its tunnel; return why it ended."""
        try:
            return await self._joined()
        finally:
            if self._tunnel is not None:
                await self._tunnel.aclose()
                self._tunnel = None

    async def _joined(self) -> BaseException:
        from websockets.exceptions import (  # noqa: PLC0415  (60 ms that other calls do not need)
            ConnectionClosed,
            InvalidStatus,
            WebSocketException,
        )

        try:
            address = self._transport.address
            if address.ssh is not None:
                first = not self._transport.reached
                self._tunnel = await open_tunnel_async(address.ssh, first=first)
            self._ws = await _open(address, self._path, self.protocol.query(), self._tunnel)
        except InvalidStatus as error:
            refusal = _refusal(error.response.status_code, bytes(error.response.body or b""))
            if error.response.status_code < 500:  # noqa: PLR2004  (5xx: not now)
                raise refusal from None
            return refusal
        except (OSError, EOFError, WebSocketException) as error:
            return error
        opened_at = time.monotonic()
        self._transport.reached = True
        try:
            await self._carry(self._ws)
        except ConnectionClosed as closed:
            _raise_if_fatal(closed.rcvd.code if closed.rcvd else 0, str(closed))
            self._broken += 1
            if time.monotonic() - opened_at > PROVEN_S:
                self._proven()
            return closed
        finally:
            self.protocol.lost()
            await _leave(self._ws)
        return EOFError("the session ended")

    async def _carry(self, ws: ClientConnection) -> None:
        sending = asyncio.create_task(self._send(ws))
        try:
            while not self.protocol.finished:
                frame = self.protocol.receive(await ws.recv())
                self._sendable.set()
                if frame is None:
                    continue
                if isinstance(frame, Output | Missed):
                    self._proven()
                await self._sink(frame)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sending

    async def _send(self, ws: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415  (as above)

        with suppress(ConnectionClosed):  # the reading side sees it too, with its code
            while True:
                while (message := self.protocol.next_message()) is not None:
                    await ws.send(message)
                self._sendable.clear()
                await self._sendable.wait()


async def _open(
    address: Address, path: str, query: dict[str, str], tunnel: Tunnel | None
) -> ClientConnection:
    from websockets.asyncio.client import connect, unix_connect  # noqa: PLC0415  (as above)
    from websockets.typing import Subprotocol  # noqa: PLC0415  (as above)

    url = f"{address.websocket_url}{path}?{urlencode(query)}"
    options: dict[str, Any] = {
        "additional_headers": address.headers(),
        "subprotocols": [Subprotocol(SUBPROTOCOL)],
        "compression": None,
        "open_timeout": OPEN_S,
        "close_timeout": CLOSE_S,
        "ping_interval": PING_S,
        "max_size": MESSAGE_BYTES,
        "max_queue": QUEUED_FRAMES,
    }
    if tunnel is not None:
        return await connect(url, sock=tunnel.sock, proxy=None, **options)
    if address.socket is not None:
        return await unix_connect(str(address.socket), url, **options)
    if not address.uses_proxy:
        options["proxy"] = None
    if url.startswith("wss:") and address.cacert:
        import ssl  # noqa: PLC0415  (only wss needs it)

        options["ssl"] = ssl.create_default_context(cafile=address.cacert)
    return await connect(url, **options)


async def _leave(ws: ClientConnection) -> None:
    """Close in good order; a cancellation meanwhile closes at once, and leaves no task behind."""
    try:
        await ws.close()
    except asyncio.CancelledError:
        ws.transport.abort()
        await ws.wait_closed()
        raise
    finally:
        # websockets starts it after the handshake, and cancels it when the connection is lost: if
        # that came first, it would sleep on until its next ping.
        if ws.keepalive_task is not None:
            ws.keepalive_task.cancel()
            await asyncio.wait({ws.keepalive_task})


def _refusal(status: int, body: bytes) -> HoldfastError:
    try:
        error = msgspec.json.decode(body, type=ErrorAnswer).error
    except msgspec.MsgspecError:
        return ProtocolBroken(f"attaching was refused with status {status}", status=status)
    return error_from(error.code, error.message, error.details, status)


def _raise_if_fatal(code: int, reason: str) -> None:
    if code == REPLACED:
        raise Detached("another connection of this client took this one's place")
    if code == HELD:
        raise Conflict("another client is the writer")
    if code in FATAL:
        raise ProtocolBroken(f"the server closed the attachment: {reason}")

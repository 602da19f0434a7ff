"""uvicorn inside the daemon: one server for the unix socket and TCP, ended by the daemon.

Rules
- The daemon owns signals, logging and the event loop; uvicorn gets none of them.
- The unix socket is bound again within `WATCH_S` when its file is gone; open connections go on.
- The end is bounded: WebSockets get 1012, requests `GRACE_S`, then what still runs is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.lifespan.off import LifespanOff

from api.http_protocol import HardenedProtocol
from api.listeners import UnixListener
from supervisor.errors import StartRefused

__all__ = ["Server"]

GRACE_S: Final = 1
WATCH_S: Final = 1.0

_KEEP_ALIVE_S: Final = 75
_PING_S: Final = 20.0
_FRAME_BYTES: Final = 2 * 1024 * 1024

_log = structlog.get_logger("api.server")


class Server(uvicorn.Server):
    """Serves `app` on a unix socket and, where given, on TCP, until `stop`.

    `tcp` is a listening socket, `tls` its context (None: plain HTTP).
    """

    def __init__(
        self,
        app: ASGIApp,
        unix: UnixListener,
        tcp: socket.socket | None,
        tls: ssl.SSLContext | None,
        connections: int,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=HardenedProtocol,
            ws="websockets-sansio",
            ws_max_size=_FRAME_BYTES,
            ws_ping_interval=_PING_S,
            ws_ping_timeout=_PING_S,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            headers=[("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")],
            limit_concurrency=connections,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._unix = unix
        self._tcp = tcp
        self._tls = tls
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._unix_server: asyncio.Server | None = None

    @property
    def listeners(self) -> list[str]:
        """What is listened on, `unix:PATH` and `tcp:HOST:PORT` with the bound port."""
        named = [f"unix:{self._unix.path}"]
        if self._tcp is not None:
            host, port = self._tcp.getsockname()[:2]
            named.append(f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}")
        return named

    def stop(self) -> None:
        """Begin to end; `serve` returns soon after. May be called again."""
        self._stopping.set()

    async def wait_ready(self) -> None:
        """Return when connections are taken."""
        await self._ready.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections on all listeners."""
        del sockets
        self.lifespan = LifespanOff(self.config)
        self.servers = []
        await self._serve_unix()
        if self._tcp is not None:
            self.servers.append(await self._take(self._tcp, self._tls))
        self.started = True
        self._ready.set()

    async def main_loop(self) -> None:
        """Keep the unix socket in its place until `stop`."""
        await self.on_tick(0)
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), WATCH_S)
            if not self._stopping.is_set() and not self._unix.is_bound():
                await self._bind_again()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End within `GRACE_S` and what cancelled requests need to clean up."""
        await super().shutdown(sockets)
        # uvicorn cancels what is left and does not wait for it.
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        self._unix.remove()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield

    async def _serve_unix(self) -> None:
        self._unix_server = await self._take(self._unix.bind(), None)
        self.servers.append(self._unix_server)

    async def _bind_again(self) -> None:
        _log.warning("the socket's file is gone; binding it again", path=str(self._unix.path))
        former = self._unix_server
        try:
            await self._serve_unix()
        except StartRefused as error:
            _log.error("cannot bind the socket again", why=error.message)
            return
        if former is not None:
            self.servers.remove(former)
            former.close()

    async def _take(self, listener: socket.socket, tls: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: HardenedProtocol(self.config, self.server_state, {}, loop),
            sock=listener,
            ssl=tls,
            backlog=self.config.backlog,
        )

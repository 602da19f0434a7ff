"""httpx over ssh: each connection of its pool is a tunnel (`tunnel.py`).

httpx lets nobody choose how its pool connects; httpcore, which it is made of, does
(https://www.encode.io/httpcore/network-backends/), so the pool is replaced by one with that choice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from holdfast.ssh import SshTarget
from holdfast.tunnel import Tunnel, open_tunnel_async

__all__ = ["ssh_transport"]


def ssh_transport(target: SshTarget, first: Callable[[], bool]) -> httpx.AsyncHTTPTransport:
    """A transport whose connections go through ssh. `first()` as for a tunnel, at each connect."""
    transport = httpx.AsyncHTTPTransport(verify=False, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001  (see above)
        max_connections=None,
        max_keepalive_connections=4,
        keepalive_expiry=60.0,  # a connection costs a process and a login
        network_backend=_Backend(target, first),
    )
    return transport


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, target: SshTarget, first: Callable[[], bool]) -> None:
        self._target, self._first = target, first

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del host, port, timeout, local_address, socket_options
        tunnel = await open_tunnel_async(self._target, first=self._first())
        reader, writer = await asyncio.open_connection(sock=tunnel.sock)
        return _Stream(tunnel, reader, writer)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(
        self, tunnel: Tunnel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._tunnel, self._reader, self._writer = tunnel, reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(error) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(error) from error

    async def aclose(self) -> None:
        self._writer.transport.abort()
        await self._tunnel.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del ssl_context, server_hostname, timeout
        raise httpcore.ConnectError("there is no TLS inside ssh")

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # httpcore asks whether an idle connection was closed
            return self._reader.at_eof()
        return None

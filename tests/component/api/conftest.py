"""A server around any application, on a unix socket and on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from starlette.types import ASGIApp

from api.listeners import UnixListener, bind_tcp
from api.server import Server

Serve = Callable[..., Awaitable[Server]]


@asynccontextmanager
async def serving(app: ASGIApp, path: Path, connections: int) -> AsyncIterator[Server]:
    server = Server(app, UnixListener(path), bind_tcp("127.0.0.1:0"), None, connections)
    task = asyncio.create_task(server.serve())
    await server.wait_ready()
    try:
        yield server
    finally:
        server.stop()
        await task
        assert not path.exists()  # noqa: ASYNC240  (one look at a temporary folder)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server: `await serve(app, connections=100)`; it ends with the test."""
    async with AsyncExitStack() as stack:
        # pytest's own folders may be longer than a socket's path can be.
        folder = stack.enter_context(TemporaryDirectory())

        async def start(app: ASGIApp, connections: int = 100) -> Server:
            path = Path(folder) / "run" / "holdfast.sock"
            return await stack.enter_async_context(serving(app, path, connections))

        yield start


def unix_path(server: Server) -> str:
    return server.listeners[0].removeprefix("unix:")


def tcp_address(server: Server) -> tuple[str, int]:
    _, host, port = server.listeners[1].split(":")
    return host, int(port)

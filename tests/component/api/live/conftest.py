"""A whole node in this process, but for its keeper: real children, real sockets, memory store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, unix_connect

from api.answers import Services
from api.app import build
from api.gate import Hosts
from api.listeners import UnixListener
from api.metrics import Metrics
from api.senses import SystemSenses
from api.server import Server
from api.settings import Settings
from api.views import SessionViews
from holdfast.wire import SUBPROTOCOL
from store import MemoryStore
from supervisor.clock import SystemClock
from supervisor.records import By
from supervisor.session import Session
from supervisor.settings import SupervisorSettings
from supervisor.supervisor import Supervisor

PATIENCE_S = 30.0


class Node:
    """A node that serves on a unix socket. `http` is a client of it."""

    def __init__(self, supervisor: Supervisor, path: Path, http: httpx.AsyncClient) -> None:
        self.supervisor = supervisor
        self.path = path
        self.http = http

    async def start(self, script: str, **fields: Any) -> str:
        """Start a shell script as a session; return its ID."""
        body = {"command": ["/bin/sh", "-c", script], **fields}
        answer = await self.http.post("/v1/sessions", json=body)
        assert answer.status_code == 201, answer.text
        session_id: str = answer.json()["session"]["id"]
        return session_id

    def session(self, session_id: str) -> Session:
        return self.supervisor.find(session_id)

    async def until(self, session_id: str, holds: Callable[[Session], bool]) -> Session:
        """Wait until something holds of a session."""
        session = self.session(session_id)
        async with asyncio.timeout(PATIENCE_S):
            while not holds(session):
                await session.changes.wait()
        return session

    async def waited_for(self, session_id: str, *, by_anyone: bool) -> None:
        """Return when a task waits for the session, or none; each look is a request."""
        changes = self.session(session_id).changes
        async with asyncio.timeout(PATIENCE_S):
            while bool(changes._waiting) is not by_anyone:
                await self.http.get("/healthz")

    async def ended(self, session_id: str) -> Session:
        return await self.until(session_id, lambda session: session.final)

    @asynccontextmanager
    async def attach(
        self, session_id: str, query: str = "", **options: Any
    ) -> AsyncIterator[ClientConnection]:
        """Attach, without looking at the first message."""
        uri = f"ws://holdfast/v1/sessions/{session_id}/attach?{query}"
        given = {"subprotocols": [SUBPROTOCOL], "compression": None, "max_size": None} | options
        async with unix_connect(str(self.path), uri, **given) as connection:
            yield connection


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Node]:
    errors: list[tuple[str, BaseException]] = []
    senses = SystemSenses()
    supervisor = Supervisor(
        store=MemoryStore(),
        clock=SystemClock(),
        node="n1",
        state_dir=folder,
        settings=SupervisorSettings(node_bytes=1 << 30, reserve_bytes=1 << 20),
        respawn=None,
        report=lambda what, error: errors.append((what, error)),
        senses=senses,
    )
    await supervisor.start()
    path = folder / "run" / "http.sock"
    shared = Services(
        supervisor=supervisor,
        settings=Settings(),
        views=SessionViews(supervisor.clock),
        metrics=Metrics(supervisor, "0"),
        listeners=list,
        stop=lambda: None,
        senses=senses,
    )
    server = Server(build(shared, Hosts([], [])), UnixListener(path), None, None, 1000)
    task = asyncio.create_task(server.serve())
    await server.wait_ready()
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://holdfast", timeout=PATIENCE_S
    ) as http:
        try:
            yield Node(supervisor, path, http)
        finally:
            await supervisor.stop_all(By())
            server.stop()
            await task
    assert errors == []


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        # pytest's own folders may be longer than a socket's path can be.
        folder = stack.enter_context(TemporaryDirectory())
        yield await stack.enter_async_context(serving(Path(folder)))

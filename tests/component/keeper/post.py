"""A keeper at work for one test, the daemon's connection to it, and things to wait for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from supervisor.keeper.client import Held, KeeperClient, Respawn, SpawnRequest, start_keeper
from supervisor.keeper.errors import KeeperError

PATIENCE_S = 30.0
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
T = TypeVar("T")


async def soon(waiting: Awaitable[T]) -> T:
    """The result; TimeoutError when what is waited for never comes."""
    return await asyncio.wait_for(waiting, PATIENCE_S)


async def readable(fd: int) -> None:
    """Wait until `fd` can be read, or has ended."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await soon(ready.wait())
    finally:
        loop.remove_reader(fd)


async def read_some(fd: int) -> bytes:
    """The next bytes; nothing at the end, which for a pty is EIO."""
    while True:
        await readable(fd)
        try:
            return os.read(fd, 1 << 16)
        except BlockingIOError:
            continue
        except OSError:
            return b""


async def read_to_end(fd: int | None) -> bytes:
    """All bytes until nobody holds the other end."""
    assert fd is not None
    found = b""
    while chunk := await read_some(fd):
        found += chunk
    return found


async def read_lines(fd: int | None, count: int) -> list[str]:
    """The next `count` whole lines."""
    assert fd is not None
    found = b""
    while found.count(b"\n") < count:
        found += await read_some(fd)
    return found.decode().splitlines()


async def process_ended(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            await readable(pidfd)
        finally:
            os.close(pidfd)


class Post:
    """One keeper in `run_dir`, and at most one connection of ours to it."""

    def __init__(self, run_dir: Path, containment: str) -> None:
        self.run_dir = run_dir
        self.socket = run_dir / "keeper.sock"
        self.containment = containment
        self.exits: asyncio.Queue[tuple[str, int, int]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.client: KeeperClient
        self.all_held: list[Held] = []

    async def start(self) -> None:
        await start_keeper(self.run_dir, containment=self.containment)

    async def connect(self, respawn: Respawn | None = None) -> KeeperClient:
        self.client = await soon(
            KeeperClient.connect(
                self.socket,
                respawn=respawn,
                on_exited=lambda *exited: self.exits.put_nowait(exited),
                on_gone=self.gone.set,
            )
        )
        return self.client

    async def ask(self, request: SpawnRequest) -> Held:
        held = await soon(self.client.spawn(request))
        self.all_held.append(held)
        return held

    async def spawn(self, session: str, *argv: str, **fields: object) -> Held:
        given: dict[str, object] = {"env": ENV, "cwd": "/", **fields}
        return await self.ask(SpawnRequest(session, 1, argv, **given))  # type: ignore[arg-type]

    async def sh(self, session: str, script: str, **fields: object) -> Held:
        return await self.spawn(session, "sh", "-c", script, **fields)

    async def children(self) -> list[Held]:
        found = await soon(self.client.list())
        self.all_held += found
        return found

    async def exit_of(self, session: str) -> int:
        """The wait status that the keeper reports for the session, whatever else ends before."""
        while True:
            ended, _, status = await soon(self.exits.get())
            if ended == session:
                return status

    def close_held(self) -> None:
        while self.all_held:
            self.all_held.pop().close()

    async def finish(self) -> None:
        """Kill and drop all sessions, end the keeper and wait until it has ended."""
        self.client.close()
        self.close_held()
        with suppress(KeeperError):
            await self.connect()
            for held in await self.children():
                await held.containment.kill()
                assert await held.containment.empty(PATIENCE_S)
                await self.client.drop(held.session, held.generation)
            await self.client.end()
            self.client.close()
            await process_ended(self.client.pid)
        self.close_held()

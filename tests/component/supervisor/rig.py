"""A supervisor at work for one test: a real keeper, pump and children, a store in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from api.senses import SystemSenses
from store import MemoryStore
from supervisor.clock import Clock, SystemClock
from supervisor.commands import Command
from supervisor.creation import CreateSession
from supervisor.ports import Change
from supervisor.records import By, Event, Receipt, Spec, Verb
from supervisor.session import Session
from supervisor.settings import SupervisorSettings
from supervisor.supervisor import Supervisor
from tests.component.keeper.post import process_ended

PATIENCE_S = 30.0
T = TypeVar("T")
ME = By(user="tester", via="unix")
_SETTINGS = {"node_bytes": 1 << 30, "reserve_bytes": 1 << 20}


class Rig:
    """One state directory and the daemon that serves it; `crash` and `start` as often as liked.

    `reports` is what the supervisor logged; a test that expects none need not look, `finish` does.
    """

    def __init__(self, folder: Path, containment: str = "auto") -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.clock: Clock = SystemClock()
        self.senses = SystemSenses()
        self.settings: dict[str, Any] = {**_SETTINGS, "containment": containment}
        self.reports: list[tuple[str, BaseException]] = []
        self.expected: list[str] = []
        self.supervisor: Supervisor
        self.running = False
        self.keepers: set[int] = set()
        self._commands = count(1)

    def new(self) -> Supervisor:
        """Another daemon for the same directory, not started."""
        return Supervisor(
            store=self.store,
            clock=self.clock,
            node="n1",
            state_dir=self.folder,
            settings=SupervisorSettings(**self.settings),
            respawn=None,
            report=lambda what, error: self.reports.append((what, error)),
            senses=self.senses,
        )

    async def start(self, **settings: Any) -> Supervisor:
        self.settings |= settings
        self.supervisor = self.new()
        await soon(self.supervisor.start())
        self.running = True
        self.keepers.add(self.supervisor.keeper_pid or 0)
        return self.supervisor

    async def stop(self) -> None:
        await soon(self.supervisor.stop())
        self.running = False

    async def crash(self) -> None:
        """End as by SIGKILL: no farewell, nothing flushed, all descriptors closed."""
        node = self.supervisor._node

        async def vanish(*, end: bool) -> None:
            keeper, node.keeper = node.keeper, None
            if keeper is not None:
                keeper.close()

        self.supervisor._watch.bye = vanish  # type: ignore[method-assign]
        await self.stop()

    async def again(self) -> Supervisor:
        await self.crash()
        return await self.start()

    async def finish(self) -> None:
        """End everything, and see that nothing was reported that the test did not expect."""
        self.store.before_commit = None
        if not self.running:
            await self.start()
        self.keepers.add(self.supervisor.keeper_pid or 0)
        await soon(self.supervisor.stop_all(ME))
        self.running = False
        for pid in self.keepers - {0}:
            await process_ended(pid)
        unexpected = [each for each in self.reports if each[0] not in self.expected]
        assert unexpected == []

    async def create(self, *command: str, **fields: Any) -> Session:
        """Start a command; fields of CreateSession and of Spec."""
        session, _ = await soon(self.supervisor.create(request(*command, **fields)))
        return session

    async def sh(self, script: str, **fields: Any) -> Session:
        return await self.create("/bin/sh", "-c", script, **fields)

    async def control(self, verb: Verb, session: Session | str, **fields: Any) -> Receipt:
        return await soon(self.supervisor.control(self.command(verb, session, **fields)))

    def command(self, verb: Verb, session: Session | str, **fields: Any) -> Command:
        given = {key: fields.pop(key) for key in _COMMAND_FIELDS & fields.keys()}
        given.setdefault("command_id", f"c{next(self._commands)}")
        args = {**_ARGS.get(verb, {}), **fields}
        name = session if isinstance(session, str) else session.record.id
        return Command(verb=verb, session=name, by=ME, args=args, **given)

    async def stop_it(self, session: Session, **fields: Any) -> Receipt:
        return await self.control(Verb.STOP, session, **fields)

    async def kill(self, session: Session, **fields: Any) -> Receipt:
        return await self.control(Verb.KILL, session, **fields)

    async def restart(self, session: Session, **fields: Any) -> Receipt:
        return await self.control(Verb.RESTART, session, **fields)

    async def events(self, session: Session | None = None) -> list[Event]:
        """All events that are shown, of one session or of all."""
        page = await self.supervisor.feed.page(0, 100_000)
        wanted = session.record.id if session else None
        return [event for event in page if wanted is None or event.session == wanted]

    async def kinds(self, session: Session) -> list[str]:
        return [event.type.removeprefix("session.") for event in await self.events(session)]


_COMMAND_FIELDS = {"command_id", "generation", "reason"}
_ARGS: dict[Verb, dict[str, Any]] = {
    Verb.STOP: {"signal": None, "grace": None},
    Verb.SIGNAL: {"target": "leader"},
}
_CREATE_FIELDS = {"id", "labels", "base_env", "kind", "replace"}


def request(*command: str, **fields: Any) -> CreateSession:
    """A request to start a command; fields of CreateSession and of Spec."""
    given = {key: fields.pop(key) for key in _CREATE_FIELDS & fields.keys()}
    return CreateSession(spec=Spec(command=command, **fields), by=ME, **given)


async def soon(waiting: Awaitable[T]) -> T:
    """The result; TimeoutError when what is waited for never comes."""
    async with asyncio.timeout(PATIENCE_S):
        return await waiting


async def until(session: Session, holds: Callable[[Session], bool]) -> Session:
    """Wait until something holds of a session."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds(session):
            await session.changes.wait()
    return session


async def ended(session: Session) -> Session:
    return await until(session, lambda one: one.final)


async def printed(session: Session, text: str) -> None:
    await until(session, lambda one: text in output(one))


def output(session: Session, *streams: int) -> str:
    """What is kept of the output, of some streams or of all."""
    reader = session.reader
    spans = reader.spans(reader.oldest, reader.next - reader.oldest)
    found = (span.data for span in spans if not streams or span.stream in streams)
    return b"".join(found).decode()


def alive(pid: int) -> bool:
    """Whether a process lives; one that waits to be reaped does not."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(pidfd)
    return state not in "ZX"


def refuse_nth(number: int, error: Exception) -> Callable[[Change], Any]:
    """For `MemoryStore.before_commit`: the n-th commit from here on is refused, one only."""
    seen = count(1)

    async def before_commit(_: Change) -> None:
        if next(seen) == number:
            raise error

    return before_commit

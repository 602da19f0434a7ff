"""The supervisor actor: owner of all sessions of one node.

Rules
- `_sessions` holds every retained session, finished ones too, oldest first. It changes only in
  this actor's mailbox, so that an ID and a name are never given twice.
- A session whose actor crashed is recovered: it fetches its child from the keeper again. Nothing
  else notices. After `CRASHES` crashes within a minute it stays down, with its child untouched.
- When the keeper's connection ends, sessions go on; a new keeper serves new ones.

More than 400 lines, since the registry and all that reads or changes it stay in one file: starting
and leaving, the requests, the mailbox, what sessions, keeper and pump tell. What each of them means
is decided elsewhere (`creation.py`, `commands.py`, `recovery.py`, `pruning.py`).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from supervisor.actor import Actor
from supervisor.clock import Clock
from supervisor.commands import Command
from supervisor.creation import CreateSession, new_record, same_or_conflict
from supervisor.errors import (
    ActorStopped,
    Conflict,
    LimitReached,
    NameInUse,
    NotFound,
    SpawnRefused,
    StartRefused,
    StoreFailed,
    SupervisorError,
)
from supervisor.feed import EventFeed
from supervisor.keeper.client import KeeperClient, KeeperError, Respawn
from supervisor.keeper_watch import KeeperWatch
from supervisor.messages import Adopt, Begin, ChildExited, Control, KeeperLost, Patch
from supervisor.node import Node
from supervisor.output.errors import StateFolderRefused
from supervisor.output.pump import Pump
from supervisor.output.selftest import check_state_folder
from supervisor.output.space import Space
from supervisor.ports import Change, Loaded, Store
from supervisor.pruning import Pruning
from supervisor.pump_events import PumpEvents
from supervisor.records import By, OutcomeKind, Receipt, State, Token, Verb
from supervisor.recovery import Recovery
from supervisor.sampling import Sampling
from supervisor.senses import Senses
from supervisor.session import Session
from supervisor.session_adoption import recover
from supervisor.settings import SupervisorSettings
from supervisor.state_dir import StateDir, boot_id

__all__ = ["CreateSession", "Supervisor"]

CRASHES = 5
CRASH_WINDOW_S = 60.0
HOUSEKEEPING_S = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionCrashed:
    """A session's actor ended with an exception that nobody expected."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Sessions that were pruned or removed leave the registry."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakeName:
    """Give a live session a name, or an ended one with a name its life back, by `request`.

    Done within this mailbox, so that no other session can take the name meanwhile.
    """

    session: Session
    name: str
    request: Patch | Control


class Supervisor(Actor):
    """Starts, finds, controls and forgets sessions. `start` first, `stop` last."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        node: str,
        state_dir: Path,
        settings: SupervisorSettings,
        respawn: Respawn | None,
        report: Callable[[str, BaseException], None],
        senses: Senses,
    ) -> None:
        """`respawn` is how the keeper starts a daemon when this one dies; `report` logs."""
        super().__init__()
        self._on_crash = self._died
        self.state_dir = StateDir(state_dir)
        self.settings = settings
        self.started_at_us = clock.wall_us()
        self.tokens: dict[str, Token] = {}
        self._sessions: dict[str, Session] = {}
        self._node = Node(
            name=node,
            boot_id=boot_id(),
            clock=clock,
            store=store,
            sessions_dir=self.state_dir.sessions,
            report=report,
            senses=senses,
        )
        self._watch = KeeperWatch(
            self._node,
            self.state_dir.run,
            settings,
            respawn,
            self._child_exited,
            self._keeper_lost,
        )
        self.sampling = Sampling(self._node, self._sessions)
        self._pruning = Pruning(self._node, self._sessions, settings)
        self._crashes: dict[str, deque[float]] = {}
        self._begun: set[asyncio.Task[Any]] = set()

    @property
    def node(self) -> str:
        """The node's name."""
        return self._node.name

    @property
    def boot_id(self) -> str:
        """The kernel's name for this boot."""
        return self._node.boot_id

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        return self._node.clock

    @property
    def senses(self) -> Senses:
        """What waits look by."""
        return self._node.senses

    @property
    def feed(self) -> EventFeed:
        """The event log."""
        return self._node.feed

    @property
    def keeper_pid(self) -> int | None:
        """The keeper's pid; None while a new one is being started."""
        return self._node.keeper.pid if self._node.keeper else None

    @property
    def keeper_protocol(self) -> int:
        """The version spoken with the keeper."""
        return self._node.keeper.protocol if self._node.keeper else 0

    @property
    def containment(self) -> str:
        """What holds a new session's tree together: `cgroup`, `shim`, `children`, or `unknown`."""
        return self._node.keeper.containment if self._node.keeper else "unknown"

    # Life of the daemon.

    async def start(self) -> None:
        """Take the state directory, connect to the keeper, take over what is there.

        Raises StartRefused with what to do; then nothing is held.
        """
        node = self._node
        self.state_dir.lock()
        try:
            check_state_folder(self.state_dir.sessions)
            loaded = await node.store.open()
            keeper = await self._watch.connect()
        except StateFolderRefused as error:
            self.state_dir.unlock()
            raise StartRefused(str(error)) from error
        except (KeeperError, TimeoutError) as error:
            await node.store.close()
            self.state_dir.unlock()
            message = f"no keeper could be started in {self.state_dir.run}: {error}"
            raise StartRefused(message) from error
        except BaseException:
            await node.store.close()  # its threads would keep the process from ending
            self.state_dir.unlock()
            raise
        try:
            await self._take_over(loaded, keeper)
        except BaseException:  # nothing stays held; it goes on to the caller
            await self._leave(end=False)
            raise

    async def _take_over(self, loaded: Loaded, keeper: KeeperClient) -> None:
        node = self._node
        node.space = Space(
            self.state_dir.path,
            reserve_bytes=self.settings.reserve_bytes,
            node_bytes=self.settings.node_bytes or self.state_dir.node_bytes(),
        )
        events = PumpEvents(self._sessions, self._pruning.make_room, self._pump_failed)
        node.pump = Pump(events, space=node.space)
        node.pump.start()
        node.feed.resume(loaded.oldest_event, loaded.last_event)
        self.tokens.update({token.secret_hash: token for token in loaded.tokens})
        await Recovery(node, keeper, self._add).adopt_all(loaded)
        await node.feed.commit(Change(events=(node.feed.event("node.up"),)))
        node.clock.call_later(HOUSEKEEPING_S, self._keep_house)
        self.sampling.start()

    async def stop(self) -> None:
        """Leave; sessions and keeper go on, and nobody starts this daemon again."""
        await self._leave(end=False)

    async def stop_all(self, by: By) -> None:
        """Stop every session, proven; then the keeper ends too. `stop` still has to be called."""
        live = [session for session in self.sessions() if _alive(session)]
        stops = (
            self.control(
                Command(
                    command_id=f"shutdown-{session.record.id}-{session.record.generation}",
                    verb=Verb.STOP,
                    session=session.record.id,
                    by=by,
                    reason="the daemon is shut down with its sessions",
                    args={"signal": None, "grace": None},
                )
            )
            for session in live
        )
        for failed in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(failed, SupervisorError):
                self._node.report("a session could not be stopped", failed)
            elif isinstance(failed, BaseException):
                raise failed
        await self._leave(end=True)

    async def _leave(self, *, end: bool) -> None:
        if self._stopped:
            return
        self._stopped = True
        await self.sampling.stop()
        await self._watch.bye(end=end)
        for session in self._sessions.values():
            await session.stop()
            session.stay_down()
        await asyncio.gather(*self._begun, return_exceptions=True)
        if hasattr(self._node, "pump"):
            await asyncio.get_running_loop().run_in_executor(None, self._node.pump.stop)
        for session in self._sessions.values():
            session.close()
        await super().stop()
        await self._node.store.close()
        self.state_dir.unlock()

    def degraded(self) -> list[str]:
        """Return what does not work as promised now, in words a program can compare."""
        found = []
        if self._node.keeper is None:
            found.append("keeper_starting")
        if any(session.orphaned for session in self._sessions.values()):
            found.append("keeper_died")
        return found

    # Requests.

    def find(self, ref: str) -> Session:
        """Return a session by ID, live name, or the newest finished of that name."""
        session = self._sessions.get(ref)
        if session is not None:
            return session
        named = [one for one in self._sessions.values() if one.record.name == ref]
        live = [one for one in named if not one.record.state.ended]
        if not named:
            raise NotFound(f"no session {ref}", session=ref)
        return (live or named)[-1]

    def sessions(self) -> Collection[Session]:
        """Return every retained session, oldest first."""
        return self._sessions.values()

    async def create(self, request: CreateSession) -> tuple[Session, bool]:
        """Return the session and whether this request started it; its child runs then.

        Raises SpawnRefused (`errno`, `stage`, `session_id`), Conflict, NameInUse, Gone,
        LimitReached, Refused, StoreFailed.
        """
        await self._node.keeper_soon()
        if request.id is not None and request.id not in self._sessions:
            tombstone = await self._node.store.tombstone(request.id)
            request = replace(request, tombstone=tombstone)
        try:
            session, created = await self._carry_on(self._find_or_begin(request))
        except NameInUse as error:
            if not request.replace:
                raise
            await self._stop_for(error.details["session_id"], request.by)
            session, created = await self._carry_on(self._find_or_begin(request))
        await _until_started(session)
        _raise_if_not_spawned(session, created=created)
        return session, created

    async def control(self, command: Command, *, wait: bool = True) -> Receipt:
        """Carry out a control request; with `wait` until its receipt is settled.

        Raises NotFound, Conflict (other content, other generation, ended), Refused.
        """
        session = self.find(command.session)
        wanted = self._receipt_of(command, session)
        known = await self._node.receipts.reserve(wanted)
        if known is None:
            await self._carry_on(self._accept(command, wanted, session))
            known = wanted
        return await self._node.receipts.result(known) if wait else known

    async def receipt(self, command_id: str) -> Receipt:
        """Return a command's receipt as it stands. Raises NotFound."""
        return await self._node.receipts.get(command_id)

    async def patch(self, session_id: str, changes: Mapping[str, Any]) -> Session:
        """Change what `Patch` names of a session. Raises NameInUse."""
        session = self.find(session_id)
        name = changes.get("name")
        if name is not None and not session.record.state.ended:
            await self.ask(TakeName(session, name, Patch(changes)))
        else:
            await session.ask(Patch(changes))
        return session

    async def remove(self, session_id: str, *, force: bool, by: By) -> None:
        """Forget a finished session and free its ID. With `force` a live one is killed first."""
        session = self.find(session_id)
        if _alive(session):
            if not force:
                message = f"session {session.record.id} is alive; stop it first, or use force"
                raise Conflict(message, state=session.record.state.shown)
            await self._end_for(session, Verb.KILL, by, "removed with force")
        gone = await self._pruning.remove([session.record.id], free=True)
        if not gone:
            message = f"session {session.record.id} still has living processes"
            raise Conflict(message, survivors=session.pids())
        await self.ask(Forget(tuple(gone)))

    async def prune(self) -> list[str]:
        """Forget every finished session; return their IDs."""
        ended = [one.record.id for one in self._sessions.values() if not _alive(one)]
        gone = await self._pruning.remove(ended, free=False)
        await self.ask(Forget(tuple(gone)))
        return gone

    async def add_token(self, token: Token) -> None:
        """Store a token; it is valid when this returns."""
        event = self._node.feed.event("token.created", data={"accessor": token.accessor})
        await self._node.feed.commit(Change(tokens=(token,), events=(event,)))
        self.tokens[token.secret_hash] = token

    # The mailbox.

    async def receive(self, message: Any) -> Any:
        """Handle one message."""
        match message:
            case CreateSession():
                return self._create(message)
            case SessionCrashed():
                self._session_crashed(message.session_id)
            case Forget():
                await self._forget(message.session_ids)
            case TakeName():
                self._check_name(message.name, message.session)
                await message.session.ask(message.request)
            case _:
                await super().receive(message)
        return None

    def _create(self, request: CreateSession) -> tuple[Session, bool]:
        by_id = self._sessions.get(request.id) if request.id else None
        records = (session.record for session in self._sessions.values())
        known = same_or_conflict(request, by_id.record if by_id else None, records)
        if known is not None:
            return self._sessions[known.id], False
        self._check_limit()
        return self._add(new_record(request, self._node.clock, self._node.name)), True

    def _add(self, record: Any) -> Session:
        session = Session(record, self._node)
        session.on_crash(lambda error: self._crashed(record.id, error))
        self._sessions[record.id] = session
        return session

    def _check_limit(self) -> None:
        limit = self.settings.sessions
        if len(self._sessions) < limit:
            return
        if sum(1 for session in self._sessions.values() if _alive(session)) >= limit:
            message = f"{limit} sessions are alive, the limit (limits.sessions); stop some first"
            raise LimitReached(message, limit="sessions", value=limit)

    def _check_name(self, name: str, session: Session) -> None:
        for other in self._sessions.values():
            if other is not session and other.record.name == name and _alive(other):
                message = f"the name {name} is in use by session {other.record.id}"
                raise NameInUse(message, session_id=other.record.id, name=name)

    async def _find_or_begin(self, request: CreateSession) -> tuple[Session, bool]:
        session, created = await self.ask(request)
        if created:
            await self._begin(session)
        return session, created

    async def _carry_on(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that goes on when its caller is cancelled, so that nothing is half begun."""
        task = asyncio.get_running_loop().create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return await asyncio.shield(task)

    async def _accept(self, command: Command, wanted: Receipt, session: Session) -> None:
        """Have the session take the request; a refusal is told to all who sent this ID."""
        try:
            self._check_generation(command, session)
            name, restarts = session.record.name, command.verb is Verb.RESTART
            if restarts and name is not None and session.record.state.ended:
                await self.ask(TakeName(session, name, Control(wanted)), timeout_s=None)
            else:
                await session.ask(Control(wanted), timeout_s=None)
        except BaseException as error:  # who waits is told, and the caller
            self._node.receipts.abandon(wanted.command_id, error)
            raise

    async def _begin(self, session: Session) -> None:
        try:
            await session.ask(Begin(), timeout_s=None)
        except ActorStopped:  # it crashed and is recovered, or this daemon ends: it goes on
            raise
        except SupervisorError:
            session.begin_failed()
            self.tell(Forget((session.record.id,)))
            raise

    async def _forget(self, session_ids: tuple[str, ...]) -> None:
        for session_id in session_ids:
            session = self._sessions.pop(session_id, None)
            if session is not None:
                await session.stop()
                session.close()

    # Ends of sessions in the name of another request.

    async def _stop_for(self, session_id: str, by: By) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            await self._end_for(session, Verb.STOP, by, "replaced by a new session of its name")

    async def _end_for(self, session: Session, verb: Verb, by: By, reason: str) -> None:
        record = session.record
        command_id = f"{verb}-{record.id}-{record.generation}-{self._node.clock.wall_us()}"
        args = {"signal": None, "grace": None} if verb is Verb.STOP else {}
        await self.control(
            Command(
                command_id=command_id, verb=verb, session=record.id, by=by, reason=reason, args=args
            )
        )

    def _receipt_of(self, command: Command, session: Session) -> Receipt:
        return Receipt(
            command_id=command.command_id,
            verb=command.verb,
            session=session.record.id,
            generation=command.generation or session.record.generation,
            by=command.by,
            at_us=self._node.clock.wall_us(),
            args=command.args,
            reason=command.reason,
        )

    def _check_generation(self, command: Command, session: Session) -> None:
        current = session.record.generation
        if command.generation is not None and command.generation != current:
            message = f"session {session.record.id} is in generation {current} by now"
            raise Conflict(message, generation=current)

    # Facts from below.

    def _child_exited(self, session_id: str, generation: int, status: int) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session.tell(ChildExited(generation, status))

    def _keeper_lost(self) -> None:
        for session in self._sessions.values():
            if not session.record.state.ended:
                session.tell(KeeperLost(session.record.generation))
        self._node.feed.later("node.degraded", {"why": "keeper_died"})

    def _died(self, error: BaseException) -> None:
        """Without this actor nothing new can be started: die, and be started again."""
        self._node.report("the supervisor crashed; the daemon ends", error)
        os._exit(70)

    def _pump_failed(self, reason: str) -> None:
        """Without a pump nobody reads the children's pipes: die, and be started again."""
        self._node.report("the pump ended; the daemon ends too", RuntimeError(reason))
        os._exit(70)

    def _crashed(self, session_id: str, error: BaseException) -> None:
        self._node.report(f"session {session_id} crashed and is recovered", error)
        self.tell(SessionCrashed(session_id))

    def _session_crashed(self, session_id: str) -> None:
        session = self._sessions.get(session_id)
        if session is None:
            return
        now = self._node.clock.monotonic()
        crashes = self._crashes.setdefault(session_id, deque(maxlen=CRASHES))
        if len(crashes) == CRASHES and now - crashes[0] < CRASH_WINDOW_S:
            session.stay_down()
            return
        crashes.append(now)
        self.own(self._recover(session))

    async def _recover(self, session: Session) -> None:
        try:
            adopt = await recover(session)
        except (KeeperError, OSError) as error:  # it still holds the child, and goes on with it
            self._node.report("a crashed session's child could not be fetched", error)
            adopt = Adopt(None)
        session.tell(adopt)

    def _keep_house(self) -> None:
        if not self._stopped:
            self.own(self._housekeeping())
            self._node.clock.call_later(HOUSEKEEPING_S, self._keep_house)

    async def _housekeeping(self) -> None:
        try:
            pruned = await self._pruning.housekeeping()
        except (StoreFailed, OSError) as error:
            self._node.report("housekeeping was interrupted", error)
        else:
            self.tell(Forget(tuple(pruned)))


def _alive(session: Session) -> bool:
    return not session.record.state.ended or session.record.kept


async def _until_started(session: Session) -> None:
    while session.record.state is State.STARTING and not (session.discarded or session.down):
        await session.changes.wait()
    if session.discarded:
        raise StoreFailed("the session could not be stored, so it was not started")
    if session.down:
        raise ActorStopped("the session's actor has stopped; see the daemon's log")


def _raise_if_not_spawned(session: Session, *, created: bool) -> None:
    record = session.record
    if created and record.outcome is not None and record.outcome.kind is OutcomeKind.SPAWN_FAILED:
        detail = record.outcome.detail
        raise SpawnRefused(record.outcome.message, session_id=record.id, **detail)

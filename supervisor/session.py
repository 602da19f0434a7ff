"""The session actor: the logical owner of one child process and one ring of output.

Rules
- All that happens to a session is a message to its mailbox. Two things go past it because they
  only move numbers and give up the event loop nowhere: bytes that the pump took (`advanced`,
  `delivered`), and bytes of input that are appended to the journal.
- `lifecycle.decide` says what follows; this file carries it out.
- The order that makes start and end exactly once: commit `starting`, spawn, commit the pid, drain,
  commit the outcome, let the keeper forget. A committed outcome means never spawn again.
- `record` is what users see. An outcome shows when it is durable; so does a control request's
  effect. A pid may show a moment before (`later`): if the daemon dies then, the keeper knows it.

Elsewhere: the bytes (`session_streams.py`), the control requests (`control.py`), the end of a
generation (`ending.py`), the way on after a crash (`session_adoption.py`). What is left here is the
mailbox and every fact that goes through it, in one file of more than 400 lines so that a session's
life can be read from its start to its end.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from typing import Any

from supervisor.backoff import Backoff
from supervisor.child import KILL_S, Child
from supervisor.control import Controls
from supervisor.ending import conclude
from supervisor.errors import Conflict, Refused, StoreFailed
from supervisor.keeper.client import (
    Held,
    KeeperClient,
    KeeperError,
    KeeperGone,
    SpawnFailed,
)
from supervisor.launch import spawn_request
from supervisor.lifecycle import (
    BeginDrain,
    BeginGrace,
    Conclude,
    Effect,
    Happening,
    KillLeftovers,
    KillTree,
    LifeEvent,
    SignalTree,
    Spawn,
    Superseded,
    decide,
    next_generation,
)
from supervisor.messages import (
    Adopt,
    BackoffElapsed,
    BecameReady,
    Begin,
    ChildExited,
    Control,
    DrainEnded,
    EndInput,
    GraceExpired,
    KeeperLost,
    KillExpired,
    OutputEnded,
    Patch,
    PortsSeen,
    Retire,
    Spawned,
    SpawnRefusedByKeeper,
    TimeExpired,
)
from supervisor.node import Node
from supervisor.readiness import became_ready, unready_at_end, watch_readiness
from supervisor.records import By, Cause, Event, OutcomeKind, Receipt, SessionRecord, State
from supervisor.session_adoption import adopt
from supervisor.session_streams import SessionStreams
from supervisor.signals import signal_number

__all__ = ["Session"]

_STORE_RETRY_S = 1.0
_TIMEOUT_GRACE_S = 2.0
_END_OF_INPUT = b"\x04"

_Fact = (
    BecameReady
    | Spawned
    | SpawnRefusedByKeeper
    | ChildExited
    | OutputEnded
    | DrainEnded
    | GraceExpired
    | TimeExpired
    | BackoffElapsed
    | KillExpired
    | KeeperLost
    | PortsSeen
)


class Session(SessionStreams):
    """One session, from its start until its record is pruned.

    `former`: the end of the last generation that was followed by another, if this daemon saw it.
    `discarded`: it could not be stored, so it never was. `down`: its actor stopped for good.
    `retired`: its record is about to go, and it takes no further request.
    """

    __slots__ = (
        "_dropping",
        "_early_exit",
        "backoff",
        "controls",
        "discarded",
        "down",
        "former",
        "retired",
    )

    def __init__(self, record: SessionRecord, node: Node) -> None:
        super().__init__(record, node)
        self.discarded = False
        self.down = False
        self.retired = False
        self.former: SessionRecord | None = None
        self.controls = Controls(self)
        self._dropping = 0
        self._early_exit: ChildExited | None = None
        self.backoff = Backoff(self)

    @property
    def output_ended(self) -> bool:
        """Whether this generation will give no more output."""
        return self.record.state.over or self.record.outcome is not None

    @property
    def final(self) -> bool:
        """Whether it has ended and nothing follows unless somebody asks."""
        return self.record.state.ended

    def on_crash(self, call: Callable[[BaseException], None]) -> None:
        """Whom to tell when this actor crashes."""
        self._on_crash = call

    def begin_failed(self) -> None:
        """The session could not be stored: it never was."""
        self.discarded = True
        self.changes.notify()

    def stay_down(self) -> None:
        """The actor stopped, for good: who waits for it is told, and its child goes on."""
        self.down = True
        self.changes.notify()

    def close(self) -> None:
        """Give back descriptors, after `stop` and when the pump serves this session no more."""
        self.reader.close()
        self.backoff.cancel()
        child, self._child = self._child, None
        if child is not None:
            child.close()

    async def end_input(self) -> None:
        """Give the child end of file after all accepted input; again changes nothing."""
        await self.ask(EndInput())

    # The mailbox.

    async def receive(self, message: Any) -> Any:
        """Handle one message of `messages.py`."""
        match message:
            case Begin():
                await self._begin()
            case Adopt():
                await adopt(self, message)
            case Control():
                await self.controls.carry_out(message.receipt)
            case EndInput():
                await self._end_input()
            case Patch():
                await self._patch(message.changes)
            case Retire():
                await self._retire()
            case _:
                if message.generation == self.record.generation:
                    await self._fact(message)
                else:
                    self.unhandled(message)

    def unhandled(self, message: Any) -> None:
        """Close the descriptors that came with a message which nobody handles."""
        if isinstance(message, Spawned | Adopt) and message.held is not None:
            message.held.close()

    async def happen(self, event: LifeEvent, cause: Cause | None = None) -> None:
        """Decide what an event means, and carry it out."""
        now_s = self._node.clock.monotonic()
        record, effects = decide(self.record, Happening(event, cause, now_s))
        if Conclude() in effects:
            await self._conclude(record)
            return
        if Spawn() in effects:
            record = await self._next_generation(record)
        self.show(record)
        await self.perform(effects)

    async def perform(self, effects: tuple[Effect, ...]) -> None:
        """Carry out effects in order."""
        for effect in effects:
            match effect, self._child:
                case Spawn(), _:
                    self.own(self._spawn())
                case Superseded(), _:
                    await self.controls.superseded(effect.command_id)
                case SignalTree(), Child() as child:
                    child.signal_tree(effect.signal)
                case BeginGrace(), Child() as child:
                    child.begin_grace(effect.seconds)
                case KillTree(), Child() as child:
                    child.begin_kill()
                    self.own(self._kill(child))
                case BeginDrain(), Child() as child:
                    await self._begin_drain(child)
                case KillLeftovers(), Child() as child:
                    await self._kill_leftovers(child)

    async def commit(self, record: SessionRecord, *told: Event | Receipt) -> None:
        """Make a record durable with what is told of it, then show it. Raises StoreFailed.

        Only for the mailbox's own messages: nothing else replaces `record` meanwhile.
        """
        await self._commits.store(record, told)
        self.show(record)

    # Start.

    async def _begin(self) -> None:
        """Commit `starting`, then spawn. Raises StoreFailed, having started nothing."""
        event = self._node.feed.event
        record = self.here(self.record)
        created, starting = event("session.created", record), event("session.starting", record)
        await self.commit(record, created, starting)
        self.own(self._spawn())

    def here(self, record: SessionRecord) -> SessionRecord:
        """Return the record with the keeper and the boot that its next child will belong to."""
        keeper = self._node.need_keeper()
        # All of the keeper's cgroups, until the child's own is known: enough to kill it by, should
        # keeper and daemon both die before that is stored.
        containment = {"kind": keeper.containment, "cgroup": keeper.cgroup_base}
        return record.but(
            keeper_id=keeper.keeper_id, boot_id=self._node.boot_id, containment=containment
        )

    def begun_again(self, record: SessionRecord) -> tuple[Event, ...]:
        """Return what is told of a further generation, with the record in which it begins."""
        event, offset = self._node.feed.event, record.generation_offset
        again = event("session.restarted", record, {"offset": offset})
        return again, event("session.starting", record)

    async def _spawn(self) -> None:
        """Ask the keeper for the child of this generation; the answer comes as a fact.

        Only the keeper that the committed record names may be asked: another one cannot know
        whether this child was started already.
        """
        await self.until_untapped()
        record, keeper = self.record, self._node.keeper
        generation = record.generation
        if keeper is None or keeper.keeper_id != record.keeper_id:
            self.tell(KeeperLost(generation))
            return
        try:
            held = await keeper.spawn(spawn_request(record, record.input_next))
        except SpawnFailed as error:
            refused = SpawnRefusedByKeeper(generation, error.errno, error.stage, error.message)
            self.tell(refused)
        except KeeperGone:
            self.tell(KeeperLost(generation))
        except (KeeperError, OSError) as error:  # the keeper refused the request itself
            number = getattr(error, "errno", None) or errno.EIO
            self.tell(SpawnRefusedByKeeper(generation, number, "keeper", str(error)))
        else:
            self.tell(Spawned(generation, held, keeper))

    # What became of it.

    async def _fact(self, fact: _Fact) -> None:  # noqa: C901, PLR0912  one case for each fact
        match fact:
            case BecameReady():
                await became_ready(self, fact)
            case Spawned():
                await self.spawned(fact.held, fact.keeper)
            case SpawnRefusedByKeeper():
                error = {"errno": fact.errno, "stage": fact.stage, "message": fact.message}
                self.record = self.record.but(spawn_error=error)
                await self.happen(LifeEvent.SPAWN_FAILED)
            case ChildExited() if self.record.state is State.STARTING:
                self._early_exit = fact  # it overtook the answer to the spawn
            case ChildExited():
                if self.record.state in (State.RUNNING, State.STOPPING):
                    self.record = self.record.but(status=fact.status)
                await self.happen(LifeEvent.CHILD_EXITED)
            case OutputEnded():
                await self._output_ended()
            case DrainEnded():
                if self.record.state is State.DRAINING:
                    await self.happen(LifeEvent.DRAIN_ENDED)
            case GraceExpired():
                await self.happen(LifeEvent.GRACE_EXPIRED)
            case TimeExpired():
                await self._time_expired(fact.which)
            case BackoffElapsed():
                await self.happen(LifeEvent.BACKOFF_ELAPSED)
            case KillExpired():
                await self.controls.survived(tuple(self.pids()))
            case KeeperLost():
                if self._child is not None:
                    self._child.watch_exit()
                await self.happen(LifeEvent.KEEPER_LOST)
            case PortsSeen():
                self.see_ports(fact.places)

    async def spawned(self, held: Held, keeper: KeeperClient) -> None:
        """The keeper holds the child of this generation: take it, and do what waited for it."""
        if self._child is not None or self.record.state is not State.STARTING:
            held.close()
            return
        self.take(held, keeper)
        run = self.record.timeouts.run
        self.record = self.record.but(
            pid=held.pid,
            started_at_us=held.started_at_ns // 1000,
            containment=held.containment.describe(),
            deadline_s=self._node.clock.monotonic() + run if run else None,
        )
        await self.happen(LifeEvent.SPAWNED)
        self.later(self._node.feed.event("session.started", self.record, {"pid": held.pid}))
        if self._child is not None:
            self._child.begin_timeouts(self.record.timeouts, self.record.deadline_s)
            watch_readiness(self)
        await self.controls.started()
        if self._early_exit is not None:
            early, self._early_exit = self._early_exit, None
            if early.generation == self.record.generation:
                await self._fact(early)

    async def _output_ended(self) -> None:
        child = self._child
        if child is None:
            return
        if self.record.state.over:
            await self._release_when_empty(child)
        else:
            await self.happen(LifeEvent.DRAIN_ENDED)

    async def _time_expired(self, which: str) -> None:
        spec = self.record.spec
        grace = min(spec.stop_grace, _TIMEOUT_GRACE_S)
        number, by = signal_number(spec.stop_signal), By(via="timer")
        cause = Cause("timeout", by, number, grace_s=grace, timeout=which)
        self.record = self.record.but(desired="stopped", deadline_s=None)
        await self.happen(LifeEvent.STOP, cause)
        self.later(self._node.feed.event("session.stopping", self.record, {"timeout": which}))

    async def _begin_drain(self, child: Child) -> None:
        if child.output_ended:
            await self.happen(LifeEvent.DRAIN_ENDED)
            return
        if self.record.cause is not None:  # who ends a session waits for no reader
            self._node.pump.set_on_full(self.record.id, "drop")
        child.begin_drain()

    async def _conclude(self, record: SessionRecord) -> None:
        """Make the outcome and store it; then the keeper may forget the child.

        `record` is already in its next state; users see it once it is stored.
        """
        child = self._child
        ended, unready = unready_at_end(self, await conclude(self, record, child))
        ended, closed = self.ports_closed(ended)
        told: list[Event | Receipt] = [*unready, *closed, self.ended_event(ended)]
        told += [*self.gap_at_end(), *self.backoff.events(ended)]
        following = ended
        self._gap = None
        if ended.state is State.STARTING:
            await self._node.wait_for_keeper()
            following = self.here(next_generation(ended))
            self.former = ended
            told += self.begun_again(following)
        settled = self.controls.ended(ended)
        await self.commit_surely(following, *told, *settled)
        self.controls.tell(settled)
        if child is not None and not ended.kept:
            self.release(child)
        if following.state is State.STARTING:
            self.own(self._spawn())
        self.backoff.begin()

    def ended_event(self, record: SessionRecord) -> Event:
        """Return what is told of a generation's end; `final` says whether nothing follows."""
        outcome = record.outcome
        lost = outcome is not None and outcome.kind is OutcomeKind.LOST
        kind = "session.lost" if lost else "session.exited"
        return self._node.feed.event(kind, record, _told_of(record))

    async def _next_generation(self, record: SessionRecord) -> SessionRecord:
        """Store that the next generation starts, before its child does; return its record."""
        await self._node.wait_for_keeper()
        record = self.here(record)
        self.former = self.record
        await self.commit_surely(record, *self.begun_again(record))
        return record

    async def commit_surely(self, record: SessionRecord, *told: Event | Receipt) -> None:
        """Commit what has happened and cannot be refused; wait for a database that cannot."""
        while True:
            try:
                await self.commit(record, *told)
            except StoreFailed as error:
                self._node.report("an outcome could not be stored yet", error)
                await asyncio.sleep(_STORE_RETRY_S)
            else:
                return

    async def _kill_leftovers(self, child: Child) -> None:
        if not self.record.state.over:  # the drain goes on, and ends with them
            self._node.pump.set_on_full(self.record.id, "drop")
            self.own(self._kill(child))
            return
        survivors = await child.kill_leftovers()
        record = self.record.but(kept=bool(survivors), survivors=survivors)
        record, closed = self.ports_closed(record)
        await self.commit_surely(record, *closed)
        if not survivors:
            self.release(child)

    async def drop_kept(self) -> None:
        """Kill what was kept of an ended session; raises Conflict if something survives."""
        if self._child is not None and self.record.kept:
            await self._kill_leftovers(self._child)
        if self.record.kept:
            pids = list(self.record.survivors)
            raise Conflict("processes of the former child survive SIGKILL", survivors=pids)

    async def _kill(self, child: Child) -> None:
        try:
            await child.kill_tree()
        except (KeeperError, OSError) as error:
            self._node.report("a process tree could not be killed", error)

    async def _release_when_empty(self, child: Child) -> None:
        """Let go of kept leftovers that ended by themselves."""
        if not self.record.kept or not await child.held.containment.empty(KILL_S):
            return
        record, closed = self.ports_closed(self.record.but(kept=False, survivors=()))
        await self.commit_surely(record, *closed)
        self.release(child)

    def release(self, child: Child) -> None:
        """Give back what is held of a child that is over, here and at the keeper."""
        self.let_go()
        self.stalled = None
        self.reader.close()
        child.close()
        self.drop(child.keeper, child.generation)

    def drop(self, keeper: KeeperClient, generation: int) -> None:
        """Have the keeper forget a generation's child; what still lives of it is not killed."""
        self._dropping += 1
        self.own(self._drop(keeper, generation))

    async def _drop(self, keeper: KeeperClient, generation: int) -> None:
        try:
            await keeper.drop(self.record.id, generation)
        except KeeperGone:
            pass  # and with it all that it held
        except (KeeperError, OSError) as error:
            self._node.report("the keeper could not forget a child", error)
        finally:
            self._dropping -= 1
            self.changes.notify()

    def let_go(self) -> Child | None:
        """Hold the child no more, and have the pump let go of it; the caller closes it."""
        child, self._child, self.input = self._child, None, None
        self._node.pump.remove(self.record.id)
        return child

    # Requests.

    async def _end_input(self) -> None:
        if self.record.input_closed:
            return
        if self.input is None:
            raise Refused("the session takes no input")
        if self.record.spec.tty:
            self.input.write(_END_OF_INPUT)
            return
        self.input.open = False
        await self.commit(self.record.but(input_closed=True))
        self._node.pump.end_input(self.record.id)

    async def _patch(self, changes: Mapping[str, Any]) -> None:
        await self.commit(self.record.but(**changes))
        if "on_full" in changes:
            self._node.pump.set_on_full(self.record.id, changes["on_full"])

    async def _retire(self) -> None:
        if not self.record.state.ended or self.record.kept:
            raise Conflict(f"session {self.record.id} is alive", state=self.record.state.shown)
        self.retired = True
        # A new session of this ID is tapped under the same key, and spawned as the same generation.
        await self.until_untapped()
        while self._dropping:
            await self.changes.wait()


def _told_of(record: SessionRecord) -> dict[str, Any]:
    """Return what the event of an end says."""
    outcome = record.outcome
    if outcome is None:
        return {}
    return {
        "outcome": outcome.kind,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "message": outcome.message,
        "final": record.state.ended,
        **outcome.detail,
    }

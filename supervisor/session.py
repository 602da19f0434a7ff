"""The session actor: the logical owner of one child process and one ring of output.

Rules
- All that happens to a session is a message to its mailbox. Two things go past it because they
  only move numbers and give up the event loop nowhere: bytes that the pump took (`advanced`,
  `delivered`), and bytes of input that are appended to the journal.
- `lifecycle.decide` says what follows; this file carries it out.
- The order that makes start and end exactly once: commit `starting`, spawn, commit the pid, drain,
  commit the outcome, let the keeper forget. A committed outcome means never spawn again.
- `record` is what users see. An outcome shows when it is durable; so does a control request's
  effect. A pid or a size may show a moment before (`_later`): if the daemon dies then, the keeper
  still knows it.
- One commit of a session is under way at a time, and each writes the whole record: an older one
  can never overwrite a newer one.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from signal import SIGKILL
from typing import Any

from supervisor.actor import Actor
from supervisor.attachments import Attachments
from supervisor.broadcast import Broadcast
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
    SpawnRequest,
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
    Begin,
    ChildExited,
    Control,
    DrainEnded,
    EndInput,
    GraceExpired,
    KeeperLost,
    OutputEnded,
    Patch,
    Retire,
    RunTimeExpired,
    Spawned,
    SpawnRefusedByKeeper,
)
from supervisor.node import Node
from supervisor.output.log import OutputLog
from supervisor.output.reader import LogReader
from supervisor.output.tap import Tap
from supervisor.ports import Change
from supervisor.records import By, Cause, Event, Receipt, SessionRecord, State
from supervisor.session_input import SessionInput
from supervisor.signals import signal_number

__all__ = ["Session"]

_LATER_S = 0.005
_STORE_RETRY_S = 1.0
_TIMEOUT_GRACE_S = 2.0
_GAP_EVENT_EVERY_S = 10.0
_END_OF_INPUT = b"\x04"

_Fact = (
    Spawned
    | SpawnRefusedByKeeper
    | ChildExited
    | OutputEnded
    | DrainEnded
    | GraceExpired
    | RunTimeExpired
    | KeeperLost
)


class Session(Actor):
    """One session, from its start until its record is pruned.

    `record`: what is known, replaced as a whole. `version`: +1 with each change a user can see,
    other than offsets. `reader`: the output. `input`: None where the child has none. `changes`:
    rung on every change, offsets included. `stalled`: why the pump does not read, or None.
    `former`: the end of the last generation that was followed by another, if this daemon saw it.
    """

    __slots__ = (
        "_child",
        "_committing",
        "_controls",
        "_early_exit",
        "_events",
        "_flush_due",
        "_gap",
        "_log",
        "_node",
        "_tapped",
        "attachments",
        "changes",
        "discarded",
        "down",
        "former",
        "input",
        "last_output_at_us",
        "reader",
        "record",
        "retired",
        "stalled",
        "version",
    )

    def __init__(self, record: SessionRecord, node: Node) -> None:
        super().__init__()
        self.record = record
        self.version = 0
        self.changes = Broadcast()
        self.attachments = Attachments()
        self.discarded = False
        self.down = False
        self.retired = False
        self.stalled: str | None = None
        self.last_output_at_us = record.last_output_at_us
        self.input: SessionInput | None = None
        self.former: SessionRecord | None = None
        folder = node.sessions_dir / record.id
        self.reader = LogReader(folder, node.cache)
        if self.reader.next < record.output_next:  # its files are gone, its offsets are not
            self.reader.oldest = self.reader.next = record.output_next
        self._node = node
        self._log: OutputLog | None = None
        self._child: Child | None = None
        self._controls = Controls(self)
        self._events: list[Event] = []
        self._early_exit: ChildExited | None = None
        self._committing = 0
        self._flush_due = False
        self._tapped = False
        self._gap: tuple[float, int, int] | None = None

    @property
    def output_ended(self) -> bool:
        """Whether this generation will give no more output."""
        return self.record.state.ended or self.record.outcome is not None

    @property
    def final(self) -> bool:
        """Whether it has ended and nothing follows unless somebody asks."""
        return self.record.state.ended

    @property
    def has_output(self) -> bool:
        """Whether any output is still kept."""
        return self.reader.oldest < self.reader.next

    @property
    def orphaned(self) -> bool:
        """Whether the keeper of its child has died."""
        return self._child is not None and self._child.keeper is not self._node.keeper

    @property
    def child(self) -> Child | None:
        """The child of this generation, or what was kept of its tree."""
        return self._child

    @property
    def node(self) -> Node:
        """What all sessions share."""
        return self._node

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

    def output_deleted(self) -> None:
        """The log's files are gone; offsets stay what they are."""
        self.reader.close()
        self.reader.oldest = self.reader.next
        self.changed()

    def close(self) -> None:
        """Give back descriptors, after `stop` and when the pump serves this session no more."""
        self.reader.close()
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def pids(self) -> list[int]:
        """Return the living processes of the tree."""
        return self._child.held.containment.pids() if self._child else []

    def taken(self, offset: int) -> None:
        """Lossless readers have everything below `offset` (`on_full: block`)."""
        self._node.pump.taken(self.record.id, offset)

    async def end_input(self) -> None:
        """Give the child end of file after all accepted input; again changes nothing."""
        await self.ask(EndInput())

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of this session to the log, with the next commit."""
        self.changed()
        self.later(self._node.feed.event(kind, self.record, data))

    # What the pump says; called on the event loop, in order.

    def advanced(self, next_: int, oldest: int, time_ns: int) -> None:
        """Bytes below `next_` can be read now, those below `oldest` no longer."""
        self.reader.next, self.reader.oldest = next_, oldest
        self.last_output_at_us = time_ns // 1000
        if self._child is not None:
            self._child.last_output_s = self._node.clock.monotonic()
        self.changes.notify()

    def dropped(self, from_: int, to: int) -> None:
        """The ring dropped a range: one event at once, then at most one in ten seconds."""
        now = self._node.clock.monotonic()
        if self._gap is not None and now < self._gap[0]:
            self._gap = (self._gap[0], self._gap[1], to)
            return
        begin = self._gap[1] if self._gap is not None and self._gap[2] > self._gap[1] else from_
        self._gap = (now + _GAP_EVENT_EVERY_S, to, to)
        self.note("session.output_gap", {"from": begin, "to": to})

    def stall_changed(self, why: str | None) -> None:
        """The pump stopped reading, or goes on (None)."""
        self.stalled = why
        if self._child is not None:
            self._child.stalled = why
        kind = "session.output_stalled" if why else "session.output_resumed"
        self.note(kind, {"why": why} if why else {})

    def delivered(self, offset: int) -> None:
        """The child's pipe or terminal has taken all input below `offset`."""
        if self.input is not None:
            self.input.delivered = offset
            if self.input.worn and not self.input.renewing:
                # Here, not in the task: what is accepted before it runs would not be delivered.
                self.input.renewing = True
                self.own(self._renew_journal(self.input))
        self.changes.notify()

    def output_over(self) -> None:
        """Every output is at its end, and all of it is in the log."""
        if self._child is not None:
            self._child.output_ended = True
            self.changes.notify()
            self.tell(OutputEnded(self._child.generation))

    def discarding(self) -> None:
        """From here on output is thrown away."""
        if self._child is not None:
            self._child.discarding = True
            self.changes.notify()

    def untapped(self) -> None:
        """The pump has let go of this session."""
        self._tapped = False
        self.changes.notify()

    def input_shut(self, *, broken: bool) -> None:
        """Stdin was closed after all input (`broken`: by the child, before that)."""
        if self.input is not None:
            self.input.open = False
        if not broken and self._child is not None:
            self.own(self._close_input_at_keeper(self._child))
        self.changed()

    # The mailbox.

    async def receive(self, message: Any) -> Any:
        """Handle one message of `messages.py`."""
        match message:
            case Begin():
                await self._begin()
            case Adopt():
                await self._adopt(message)
            case Control():
                await self._controls.carry_out(message.receipt)
            case EndInput():
                await self._end_input()
            case Patch():
                await self._patch(message.changes)
            case Retire():
                self._retire()
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
        record, effects = decide(self.record, Happening(event, cause))
        if Conclude() in effects:
            await self._conclude(record)
            return
        self.show(record)
        await self.perform(effects)

    async def perform(self, effects: tuple[Effect, ...]) -> None:
        """Carry out effects in order."""
        for effect in effects:
            match effect, self._child:
                case Spawn(), _:
                    self.own(self._spawn())
                case Superseded(), _:
                    await self._controls.superseded(effect.command_id)
                case SignalTree(), Child() as child:
                    child.signal_tree(effect.signal)
                case BeginGrace(), Child() as child:
                    child.begin_grace(effect.seconds)
                case KillTree(), Child() as child:
                    self.own(self._kill(child))
                case BeginDrain(), Child() as child:
                    await self._begin_drain(child)
                case KillLeftovers(), Child() as child:
                    await self._kill_leftovers(child)

    async def commit(self, record: SessionRecord, *told: Event | Receipt) -> None:
        """Make a record durable with what is told of it, then show it. Raises StoreFailed.

        Only for the mailbox's own messages: nothing else replaces `record` meanwhile.
        """
        await self._store(record, told)
        self.show(record)

    def show(self, record: SessionRecord) -> None:
        """Replace what users see."""
        self.record = record
        self.changed()

    def changed(self) -> None:
        """Tell everyone who watches that something other than an offset changed."""
        self.version += 1
        self.changes.notify()

    def later(self, *events: Event) -> None:
        """Commit the record as it then is, with these events, in a few milliseconds.

        Nothing waits for it: a short command's start is then stored together with its end.
        """
        self._events.extend(events)
        if not self._flush_due:
            self._flush_due = True
            self._node.clock.call_later(_LATER_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._committing and not self._stopped:
            self.own(self._store_quietly())

    async def _store_quietly(self) -> None:
        if self._committing:  # begun since: it writes a newer record, and the events with it
            return
        try:
            await self._store(self.record, ())
        except StoreFailed as error:
            self._node.report("a session's record could not be stored", error)

    async def _store(self, record: SessionRecord, told: tuple[Event | Receipt, ...]) -> None:
        """Commit a record with all events that wait, and what is told now."""
        waiting, self._events = self._events, []
        events = (*waiting, *(item for item in told if isinstance(item, Event)))
        receipts = tuple(item for item in told if isinstance(item, Receipt))
        self._committing += 1
        try:
            record = record.but(last_output_at_us=self.last_output_at_us)
            await self._node.feed.commit(
                Change(sessions=(record,), receipts=receipts, events=events)
            )
        except StoreFailed:
            self._events = waiting + self._events
            raise
        finally:
            self._committing -= 1
        if self._events:
            self.later()

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
        return record.but(keeper_id=keeper.keeper_id, boot_id=self._node.boot_id)

    async def _spawn(self) -> None:
        """Ask the keeper for the child of this generation; the answer comes as a fact.

        Only the keeper that the committed record names may be asked: another one cannot know
        whether this child was started already.
        """
        await self._until_untapped()
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

    def take(self, held: Held, keeper: KeeperClient) -> None:
        """Hold a child: its output goes into the log, its input comes from the journal."""
        record, node = self.record, self._node
        try:
            log = self._open_log()
        except BaseException:
            held.close()  # nobody else would: the pump does not own them yet
            raise
        self._child = Child(held, keeper, node.clock, self.tell)
        if self.orphaned:
            self._child.watch_exit()
        if held.journal is not None:
            self.input = SessionInput(held.journal, self._deliver)
            self.input.open = not record.input_closed
        self._tapped = True
        node.pump.add(_tap(held, log, record.on_full))

    def _open_log(self) -> OutputLog:
        if self._log is None:
            folder = self._node.sessions_dir / self.record.id
            capacity = self.record.spec.output.capacity
            self._log = OutputLog(folder, capacity, self.record.output_next)
            self.reader.next, self.reader.oldest = self._log.next, self._log.oldest
        return self._log

    async def _until_untapped(self) -> None:
        """Wait until no event of a former child can come any more."""
        if self._tapped:
            self._node.pump.hasten()
        while self._tapped:
            await self.changes.wait()

    def _deliver(self) -> None:
        self._node.pump.deliver(self.record.id)

    # What became of it.

    async def _fact(self, fact: _Fact) -> None:  # noqa: C901  one case for each fact
        match fact:
            case Spawned():
                await self._spawned(fact.held, fact.keeper)
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
            case RunTimeExpired():
                await self._run_time_expired()
            case KeeperLost():
                if self._child is not None:
                    self._child.watch_exit()
                await self.happen(LifeEvent.KEEPER_LOST)

    async def _spawned(self, held: Held, keeper: KeeperClient) -> None:
        if self._child is not None or self.record.state is not State.STARTING:
            held.close()
            return
        self.take(held, keeper)
        run = self.record.run_timeout_s
        self.record = self.record.but(
            pid=held.pid,
            started_at_us=held.started_at_ns // 1000,
            containment=held.containment.describe(),
            deadline_s=self._node.clock.monotonic() + run if run else None,
        )
        await self.happen(LifeEvent.SPAWNED)
        self.later(self._node.feed.event("session.started", self.record, {"pid": held.pid}))
        if self._child is not None:
            self._child.begin_run_timeout(self.record.deadline_s)
        await self._controls.started()
        if self._early_exit is not None:
            early, self._early_exit = self._early_exit, None
            if early.generation == self.record.generation:
                await self._fact(early)

    async def _output_ended(self) -> None:
        child = self._child
        if child is None:
            return
        if self.record.state.ended:
            await self._release_when_empty(child)
        else:
            await self.happen(LifeEvent.DRAIN_ENDED)

    async def _run_time_expired(self) -> None:
        spec = self.record.spec
        grace = min(spec.stop_grace, _TIMEOUT_GRACE_S)
        cause = Cause("timeout", By(via="timer"), signal_number(spec.stop_signal), grace_s=grace)
        self.record = self.record.but(desired="stopped", deadline_s=None)
        await self.happen(LifeEvent.STOP, cause)
        self.later(self._node.feed.event("session.stopping", self.record, {"timeout": "run"}))

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
        ended = await conclude(self, record, child)
        event = self._node.feed.event
        kind = "session.lost" if ended.state is State.LOST else "session.exited"
        told: list[Event | Receipt] = [event(kind, ended, _told_of(ended)), *self._gap_at_end()]
        following = ended
        self._gap = None
        if ended.state is State.STARTING:
            await self._node.wait_for_keeper()
            following = self.here(next_generation(ended))
            self.former = ended
            told.append(event("session.restarted", following, {"offset": ended.output_next}))
        settled = self._controls.ended(ended)
        await self.commit_surely(following, *told, *settled)
        self._controls.tell(settled)
        if child is not None and not ended.kept:
            self.release(child)
        if following.state is State.STARTING:
            self.own(self._spawn())

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
        if not self.record.state.ended:  # the drain goes on, and ends with them
            self._node.pump.set_on_full(self.record.id, "drop")
            self.own(self._kill(child))
            return
        survivors = await child.kill_leftovers()
        record = self.record.but(kept=bool(survivors), survivors=survivors)
        await self.commit_surely(record)
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
        await self.commit_surely(self.record.but(kept=False, survivors=()))
        self.release(child)

    def release(self, child: Child) -> None:
        """Give back what is held of a child that is over, here and at the keeper."""
        self._node.pump.remove(self.record.id)
        self._child = None
        self.input = None
        self.stalled = None
        self.reader.close()
        child.close()
        self.own(self._drop(child.keeper, child.generation))

    async def _drop(self, keeper: KeeperClient, generation: int) -> None:
        try:
            await keeper.drop(self.record.id, generation)
        except KeeperGone:
            pass  # and with it all that it held
        except (KeeperError, OSError) as error:
            self._node.report("the keeper could not forget a child", error)

    # Requests.

    async def _patch(self, changes: Mapping[str, Any]) -> None:
        await self.commit(self.record.but(**changes))

    def _retire(self) -> None:
        if not self.record.state.ended or self.record.kept:
            raise Conflict(f"session {self.record.id} is alive", state=self.record.state.shown)
        self.retired = True

    async def _end_input(self) -> None:
        if self.input is None:
            raise Refused("the session takes no input")
        if self.record.input_closed:
            return
        if self.record.spec.tty:
            self.input.write(_END_OF_INPUT)
            return
        self.input.open = False
        await self.commit(self.record.but(input_closed=True))
        self._node.pump.end_input(self.record.id)

    async def _close_input_at_keeper(self, child: Child) -> None:
        try:
            await child.keeper.close_input(child.held.session, child.generation)
        except (KeeperError, OSError) as error:
            self._node.report("the keeper could not close an input", error)

    async def _renew_journal(self, given: SessionInput) -> None:
        """Replace a journal that has grown; writers find no room until it is done."""
        try:
            child = self._child
            if child is None:
                return
            fd = await child.keeper.new_journal(child.held.session, child.generation, given.next)
            given.renew(fd)
            self._node.pump.replace_journal(self.record.id, fd)
        except (KeeperError, OSError) as error:
            self._node.report("an input journal could not be replaced", error)
        finally:
            given.renewing = False
            self.changes.notify()

    # After a crash.

    async def _adopt(self, message: Adopt) -> None:
        """Go on where a former daemon, or this actor before its crash, stopped."""
        held, keeper, record = message.held, message.keeper, self.record
        self._controls.adopt(message.receipts)
        if record.state.ended:
            await self._adopt_ended(held, keeper)
            await self._controls.finish_ended()
        elif self._child is not None:
            self.unhandled(message)
            await self._go_on(self._child)
        elif held is None or keeper is None:
            await self._adopt_nothing()
        elif record.state is State.STARTING:
            await self._spawned(held, keeper)
            self._report_status(held)
        else:
            await self._adopt_running(held, keeper)

    async def _adopt_nothing(self) -> None:
        """No child: it was never spawned, or nobody can know how it ended."""
        record = self.record
        if record.state is State.STARTING:
            if record.lost_reason is None:
                self.own(self._spawn())
            else:
                await self.happen(LifeEvent.KEEPER_LOST)
            return
        reason = record.lost_reason or "keeper_died"
        self.record = record.but(state=State.DRAINING, lost_reason=reason)
        await self.happen(LifeEvent.DRAIN_ENDED)

    async def _adopt_running(self, held: Held, keeper: KeeperClient) -> None:
        """Take a child that ran before."""
        self.take(held, keeper)
        child, record = self._child, self.record
        if record.input_closed:
            self._node.pump.end_input(record.id)
        if child is not None:
            if record.size is not None and held.master is not None:
                child.resize(record.size)
            await self._go_on(child)
        self._report_status(held)

    async def _go_on(self, child: Child) -> None:
        """Go on with a child that is held; an end that had begun is begun again."""
        record = self.record
        began = record.cause is not None
        self.record = record.but(state=State.STOPPING if began else State.RUNNING)
        child.begin_run_timeout(record.deadline_s)
        if self.orphaned:
            child.watch_exit()
        if record.cause is not None:
            kill = any(entry.signal == SIGKILL for entry in record.delivered)
            begin = (SignalTree(record.cause.signal), BeginGrace(record.cause.grace_s))
            await self.perform((KillTree(),) if kill else begin)
        await self._controls.started()
        self.later()
        self.changed()

    async def _adopt_ended(self, held: Held | None, keeper: KeeperClient | None) -> None:
        if held is None or keeper is None:
            if self._child is not None and not self.record.kept:
                self.release(self._child)
            return
        if not self.record.kept:
            held.close()
            self.own(self._drop(keeper, held.generation))
            return
        self.take(held, keeper)
        self._node.pump.discard(self.record.id)

    def _report_status(self, held: Held) -> None:
        """The leader may have ended while nobody listened."""
        status = held.status if held.status is not None else self.record.status
        if status is not None:
            self.tell(ChildExited(held.generation, status))

    async def recover(self) -> Adopt:
        """After a crash: let go of everything held here and fetch the child again.

        What a dead keeper held cannot be fetched; the session goes on with its own descriptors.
        Raises KeeperError and OSError; then it still holds the child.
        """
        await self.stop()
        self.revive()
        child = self._child
        if child is not None and child.generation != self.record.generation:
            self.release(child)
            child = None
        keeper = self._node.keeper
        if self.orphaned or keeper is None or keeper.keeper_id != self.record.keeper_id:
            return Adopt(None)
        held = await _fetch(keeper, self.record)
        self._node.pump.remove(self.record.id)
        self._child = self.input = None
        if child is not None:
            child.close()
        await self._until_untapped()
        return Adopt(held, keeper)

    def _gap_at_end(self) -> tuple[Event, ...]:
        """What the ring dropped since the last event about it."""
        if self._gap is None or self._gap[1] >= self._gap[2]:
            return ()
        data = {"from": self._gap[1], "to": self._gap[2]}
        return (self._node.feed.event("session.output_gap", self.record, data),)


async def _fetch(keeper: KeeperClient, record: SessionRecord) -> Held | None:
    """Return the child of this generation that the keeper holds; None when it holds none."""
    nothing_new = SpawnRequest(record.id, record.generation, (), {}, "/")  # no argv starts nothing
    try:
        return await keeper.spawn(nothing_new)
    except SpawnFailed:
        return None


def _tap(held: Held, log: OutputLog, on_full: str) -> Tap:
    return Tap(
        key=held.session,
        log=log,
        stdout=held.stdout,
        stderr=held.stderr,
        stdin=held.stdin,
        master=held.master,
        relay=held.relay,
        input_relay=held.input_relay,
        journal=held.journal,
        on_full="block" if on_full == "block" else "drop",
    )


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
        **outcome.detail,
    }

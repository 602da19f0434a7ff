"""The streams of a session: its output as the pump reports it, its input as it is delivered.

Rules
- The methods that the pump's events call are called on the event loop, in order, past the mailbox:
  they move numbers, ring `changes`, and tell the mailbox what has to be decided.
- Appending input is one write to the journal, without giving up the event loop.
- The pump owns the child's descriptors until it says that it let go (`untapped`); only then may
  the next child of this session be tapped, so that no event of a former one is taken for its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.actor import Actor
from supervisor.attachments import Attachments
from supervisor.broadcast import Broadcast
from supervisor.child import Child
from supervisor.commits import Commits
from supervisor.keeper.client import Held, KeeperClient, KeeperError
from supervisor.messages import OutputEnded
from supervisor.node import Node
from supervisor.open_ports import Place, compare
from supervisor.output.log import OutputLog
from supervisor.output.reader import LogReader
from supervisor.output.tap import Tap
from supervisor.records import Event, SessionRecord
from supervisor.session_input import SessionInput
from supervisor.usage import Usage

__all__ = ["SessionStreams"]

_GAP_EVENT_EVERY_S = 10.0


class SessionStreams(Actor):
    """The part of a session that bytes go through; `Session` is the whole.

    `record`: what is known, replaced as a whole. `version`: +1 with each change a user can see,
    other than offsets. `reader`: the output. `input`: None where the child has none. `changes`:
    rung on every change, offsets included. `stalled`: why the pump does not read, or None.
    `usage`: what this generation's tree uses, as last looked at; None before the first look.
    """

    __slots__ = (
        "_child",
        "_commits",
        "_gap",
        "_log",
        "_node",
        "_tapped",
        "attachments",
        "changes",
        "input",
        "last_output_at_us",
        "reader",
        "record",
        "stalled",
        "usage",
        "version",
    )

    def __init__(self, record: SessionRecord, node: Node) -> None:
        super().__init__()
        self.record = record
        self.version = 0
        self.changes = Broadcast()
        self.attachments = Attachments(self._attended)
        self.stalled: str | None = None
        self.usage: Usage | None = None
        self.last_output_at_us = record.last_output_at_us
        self.input: SessionInput | None = None
        self.reader = self._read_log(node)
        if self.reader.next < record.output_next:  # its files are gone, its offsets are not
            self.reader.oldest = self.reader.next = record.output_next
        self._node = node
        self._commits = Commits(self)
        self._log: OutputLog | None = None
        self._child: Child | None = None
        self._tapped = False
        self._gap: tuple[float, int, int] | None = None

    def _read_log(self, node: Node) -> LogReader:
        """Open the output, if the disk lets us: one broken folder costs nobody else anything."""
        try:
            return LogReader(node.sessions_dir / self.record.id, node.cache)
        except OSError as error:
            node.report(f"the output of session {self.record.id} cannot be read", error)
            return LogReader(node.sessions_dir / f".{self.record.id}", node.cache)

    @property
    def has_output(self) -> bool:
        """Whether any output is still kept."""
        return self.reader.oldest < self.reader.next

    @property
    def bytes_on_disk(self) -> int:
        """What its log takes up, data and index, as last reported."""
        return self._node.space.held(self.record.id)

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

    def pids(self) -> list[int]:
        """Return the living processes of the tree."""
        return self._child.held.containment.pids() if self._child else []

    def taken(self, offset: int) -> None:
        """Lossless readers have everything below `offset` (`on_full: block`)."""
        self._node.pump.taken(self.record.id, offset)

    def output_deleted(self) -> None:
        """The log's files are gone; offsets stay what they are."""
        self.reader.close()
        self.reader.oldest = self.reader.next
        self._log = None  # it would write on into a folder that is gone
        self.changed()

    def show(self, record: SessionRecord) -> None:
        """Replace what users see."""
        self.record = record
        self.changed()

    def changed(self) -> None:
        """Tell everyone who watches that something other than an offset changed."""
        self.version += 1
        self.changes.notify()

    def later(self, *events: Event) -> None:
        """Commit the record as it then is, with these events, in a few milliseconds."""
        self._commits.later(*events)

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of this session to the log, with the next commit."""
        self.changed()
        self.later(self._node.feed.event(kind, self.record, data))

    # Ports.

    def see_ports(self, places: Mapping[Place, int]) -> None:
        """Tell of the ports that opened and closed; of an end `ports_closed` tells."""
        if self._child is None or (self.record.state.ended and not self.record.kept):
            return
        now_us = self._node.clock.wall_us()
        ports, told = compare(self.record.ports, places, now_us)
        if ports != self.record.ports:
            self.show(self.record.but(ports=ports))
            self.later(*(self._node.feed.event(kind, self.record, data) for kind, data in told))

    def ports_closed(self, record: SessionRecord) -> tuple[SessionRecord, list[Event]]:
        """Return a record of what nothing is left of without its ports, and what is told of them.

        Kept leftovers go on listening.
        """
        if record.kept:
            return record, []
        ports, told = compare(record.ports, {}, self._node.clock.wall_us())
        record = record.but(ports=ports)
        return record, [self._node.feed.event(kind, record, data) for kind, data in told]

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

    # Tapping a child.

    def take(self, held: Held, keeper: KeeperClient) -> None:
        """Hold a child: its output goes into the log, its input comes from the journal."""
        record, node = self.record, self._node
        try:
            log = self._open_log()
        except BaseException:
            held.close()  # nobody else would: the pump does not own them yet
            raise
        self._child = Child(held, keeper, node.clock, self.tell)
        self.usage = None
        self._attended()
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
            self._log = OutputLog(folder, capacity, max(self.record.output_next, self.reader.next))
            self.reader.next, self.reader.oldest = self._log.next, self._log.oldest
        return self._log

    async def until_untapped(self) -> None:
        """Wait until no event of a former child can come any more."""
        if self._tapped:
            self._node.pump.hasten()
        while self._tapped:
            await self.changes.wait()

    def _deliver(self) -> None:
        if self._child is not None:
            self._child.last_active_s = self._node.clock.monotonic()
        self._node.pump.deliver(self.record.id)

    def _attended(self) -> None:
        if self._child is not None:
            self._child.attended(len(self.attachments) > 0)

    # Input.

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

    def gap_at_end(self) -> tuple[Event, ...]:
        """What the ring dropped since the last event about it."""
        if self._gap is None or self._gap[1] >= self._gap[2]:
            return ()
        data = {"from": self._gap[1], "to": self._gap[2]}
        return (self._node.feed.event("session.output_gap", self.record, data),)


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

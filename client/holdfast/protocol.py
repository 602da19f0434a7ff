"""The attach protocol without I/O: messages in, facts and messages out.

Rules
- Output reaches the reader once and in order: a repeated byte is cut off, and a hole that the
  server did not announce is `ProtocolBroken`, never passed over.
- After a lost connection the next one asks for the first byte not yet had.
- Control overtakes input: it is sent first, also while the server takes no input.
- An exit that is not final is followed by `restarted` on the same connection; after a final one the
  protocol is finished and connects no more.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from holdfast.errors import NotWriter, ProtocolBroken, error_from
from holdfast.frames import (
    Attached,
    Ended,
    Frame,
    InputAccepted,
    Live,
    Missed,
    Output,
    OutputEnded,
    Refused,
    Restarted,
    RoleChanged,
    input_frame,
    parse,
    text,
)
from holdfast.journal import InputJournal

__all__ = ["ACK_BYTES", "AttachProtocol", "OnSlow"]

OnSlow = Literal["gap", "block", "disconnect"]
ACK_BYTES = 64 * 1024  # an eighth of the smallest ring: the child never waits for an ack


class AttachProtocol:
    """One attachment over any number of connections.

    `position` is the offset of the next byte wanted, None until the first connection told (with
    `tail_bytes`). `role` is what the server gave, None while not connected. `finished` says that
    nothing more will come.
    """

    def __init__(
        self,
        client: str,
        *,
        offset: int | None = 0,
        tail_bytes: int | None = None,
        role: Literal["writer", "observer"] | None = None,
        takeover: bool = False,
        on_slow: OnSlow = "gap",
    ) -> None:
        self.client = client
        self.position = offset
        self.role: str | None = None
        self.finished = False
        self.live = False
        self.journal = InputJournal()
        self._tail_bytes = tail_bytes
        self._wanted_role = role
        self._takeover = takeover
        self._on_slow = on_slow
        self._acked = self._taken = offset or 0
        self._control: deque[str] = deque()
        self._input_ending = False
        self._end_sent = False

    def query(self) -> dict[str, str]:
        """Return the query of the next connection."""
        query = {"client": self.client, "on_slow": self._on_slow}
        if self.position is not None:
            query["offset"] = str(self.position)
        elif self._tail_bytes is not None:
            query["tail_bytes"] = str(self._tail_bytes)
        if self._wanted_role:
            query["role"] = self._wanted_role
        if self._takeover:
            query["takeover"] = "true"
        return query

    def receive(self, message: str | bytes) -> Frame | None:
        """Take a message of the server; return what it means to the reader, None for nothing.

        Raises `ProtocolBroken`, and the server's refusal to attach at all.
        """
        frame = parse(message)
        if self.role is None:
            _check_first(frame)
        match frame:
            case Output():
                return self._output(frame)
            case Attached():
                self._attached(frame)
            case Missed():
                return self._missed(frame)
            case Live(offset=offset):
                self._reach(offset)
                self.live = True
            case InputAccepted(next=next_, limit=limit):
                self.journal.accepted(next_, limit)
            case RoleChanged(role=role):
                self.role = role
            case OutputEnded(offset=offset) | Restarted(offset=offset):
                self._reach(offset)
            case Ended(final=final):
                self.finished = final
        return frame

    def lost(self) -> None:
        """The connection ended; what it did not confirm goes over the next one."""
        self.role = None
        self.live = False
        self._end_sent = False
        # A takeover happens once: a client that comes back must not push out who came after it.
        self._takeover = False
        self._control.clear()

    def write(self, content: bytes) -> None:
        """Append to the input. Raises `NotWriter` for an observer."""
        if self.role == "observer" or self._wanted_role == "observer":
            raise NotWriter("this client observes the session, and another one writes to it")
        self.journal.write(content)

    def abandon_input(self) -> None:
        """Send nothing more of what was written: the server refused it, or another one writes."""
        self.journal.abandon()
        self._input_ending = False

    def end_input(self) -> None:
        """End the input behind all that was written."""
        self._input_ending = True

    def control(self, type_: str, **fields: object) -> None:
        """Send a control message on this connection: `resize`, `signal`, `stop`, `kill`, `detach`.

        It is dropped with the connection. What must not get lost goes over HTTP, with a receipt.
        """
        self._control.append(text(type_, **fields))

    def taken(self, offset: int) -> bool:
        """Say that the reader has everything below `offset`; return whether to send that now."""
        self._taken = max(self._taken, offset)
        due = self._on_slow == "block" and self._taken - self._acked >= ACK_BYTES
        if due:
            self._ack()
        return due

    def next_message(self) -> str | bytes | None:
        """Return the next message to send, None when there is none for now."""
        if self.role is None:
            return None
        if self._control:
            return self._control.popleft()
        if self.role != "writer":
            return None
        if frame := self.journal.next_frame():
            return input_frame(*frame)
        if self._input_ending and not self._end_sent and self.journal.all_sent:
            self._end_sent = True
            return text("input_end")
        return None

    @property
    def input_done(self) -> bool:
        """Whether every byte written is confirmed, and the end, if there is one, was sent."""
        return not len(self.journal) and (self._end_sent or not self._input_ending)

    def _attached(self, frame: Attached) -> None:
        if self.role is not None:
            raise ProtocolBroken("the server said `attached` twice")
        self.role = frame.role
        self.journal.connected(frame.input_next)
        if self._taken:
            # A new daemon has forgotten it. Where the ring is full of what was taken, nothing more
            # comes before it knows.
            self._ack()

    def _ack(self) -> None:
        if self._on_slow == "block" and self.role is not None:
            self._acked = self._taken
            self._control.append(text("ack", offset=self._taken))

    def _output(self, frame: Output) -> Output | None:
        if self.position is None:
            self.position = frame.offset
        if frame.offset > self.position:
            raise ProtocolBroken(f"output from {self.position} to {frame.offset} is missing")
        had = self.position - frame.offset
        if had >= len(frame.data):
            return None
        self.position = frame.offset + len(frame.data)
        return Output(frame.stream, frame.offset + had, frame.data[had:]) if had else frame

    def _missed(self, frame: Missed) -> Missed | None:
        if self.position is None:
            self.position = frame.from_
        if frame.from_ > self.position:
            raise ProtocolBroken(f"output from {self.position} to {frame.from_} is missing")
        if frame.to <= self.position:
            return None
        begin, self.position = self.position, frame.to
        return Missed(from_=begin, to=frame.to, reason=frame.reason)

    def _reach(self, offset: int) -> None:
        """Check that nothing below `offset` is missing when the server says it was all."""
        if self.position is None:
            self.position = offset
        if offset > self.position:
            raise ProtocolBroken(f"output from {self.position} to {offset} is missing")


def _check_first(frame: Frame | None) -> None:
    if isinstance(frame, Refused):
        raise error_from(frame.code, frame.message, frame.details)
    if not isinstance(frame, Attached):
        raise ProtocolBroken("the server did not begin with `attached`")

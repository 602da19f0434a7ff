"""The sending half of an attached client: what to say next, and saying it.

Rules
- `Outgoing.next` decides, without I/O, what the next message is; nothing is queued but short
  notes, at most `NOTES`. One message is in flight, of at most 64 KiB of output: a stuck client
  holds so much and no more, and nobody waits for it.
- Order: `attached`, `input` (to the writer), replay, `live` once, then output as it comes; `eof`
  and `exit` behind the last byte of a generation, `restarted` before the first of the next.
- Offsets in the frames are continuous but for what a `gap` names exactly.
- A client that is overtaken by the ring gets a gap and goes on at the oldest byte that is left. At
  a terminal, one whose single message was stuck goes on near the end: whoever presses Ctrl-C wants
  to see its effect, not what scrolled by before.
- Accepted input is confirmed at once when it is much, else a moment later in one message for all
  keys pressed meanwhile, so that an echo never waits behind a confirmation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from api.attach_wire import NORMAL, REPLACED, TOO_SLOW, Frames, text
from supervisor.attachments import Attached, Notice, Replaced, Role
from supervisor.clock import Clock, Timer
from supervisor.output.reader import OffsetGone, Span
from supervisor.records import SessionRecord
from supervisor.session import Session

__all__ = ["NOTES", "Ending", "Outgoing"]

NOTES: Final = 64
"""Short messages that may wait for a client. One that provokes more and reads none is closed."""

_FRAME_BYTES: Final = 64 * 1024
_STUCK_S: Final = 2.0
_STUCK_BEHIND_BYTES: Final = 1024 * 1024
_CONFIRM_AT_ONCE_BYTES: Final = 64 * 1024
_CONFIRM_S: Final = 0.01

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection is closed: a close code, and an `error` message sent before it."""

    code: int
    reason: str = ""
    error: str | None = None


class TooSlow(Exception):
    """The ring overtook a client that asked to be disconnected then."""


class Outgoing:
    """Everything that one client is told.

    `offset` is that of the next byte of output to send. `on_slow` is `gap`, `block` (which is
    `gap` for the case that another lossless client acknowledged more) or `disconnect`.
    """

    def __init__(
        self, session: Session, offset: int, on_slow: str, clock: Clock, frames: Frames
    ) -> None:
        self._session = session
        self._clock = clock
        self._frames = frames
        self._on_slow = on_slow
        self.offset = offset
        self.notes: deque[str | Ending] = deque()
        self._spans: list[Span] = []
        self._live_at: int | None = session.reader.next
        self._sent_any = False
        self._stuck = False
        record = session.record
        self._version = -1
        self._generation = record.generation
        self._size = record.size
        self._ended = False
        self._told_final = False
        self._input = session.input
        self._confirmed = (-1, -1)
        self._confirm_at_s: float | None = None
        self._timer: Timer | None = None
        self._writes = False

    def begin(self, attached: Attached, view: Any) -> None:
        """Say first what the client is attached to."""
        reader = self._session.reader
        self._writes = attached.role is Role.WRITER
        self.notes.append(
            text(
                "attached",
                session=view,
                oldest=reader.oldest,
                next=reader.next,
                input_next=self._input.next if self._input else self._session.record.input_next,
                role=attached.role.value,
            )
        )
        confirmation = self._confirmation()
        if confirmation is not None:
            self.notes.append(confirmation)

    def tell(self, notice: Notice) -> None:
        """Pass on what happened to the attachment."""
        if isinstance(notice, Replaced):
            self.note(Ending(REPLACED, "attached again"))
        else:
            self._writes = notice.role is Role.WRITER
            self.note(text("role_changed", role=notice.role.value, by=notice.by))

    def note(self, message: str | Ending) -> None:
        """Say something short before any further output."""
        self.notes.append(message)
        self._session.changes.notify()

    async def run(self, send: Send) -> Ending:
        """Send until the session is over, or a note says to end. Cancelling leaves nothing."""
        transmit = self._transmit_or_give_up if self._on_slow == "disconnect" else self._transmit
        changes = self._session.changes
        try:
            while True:
                message = self.next()
                if message is None:
                    await changes.wait()
                elif isinstance(message, Ending):
                    return message
                else:
                    await transmit(send, message)
        except TooSlow:
            return Ending(TOO_SLOW, "too slow")
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def next(self) -> str | bytes | Ending | None:
        """Return the next message; None when there is nothing to say until something changes."""
        if self.notes:
            return self.notes.popleft()
        if self._live_at is not None and self.offset >= self._live_at:
            self._live_at = None
            return text("live", offset=self.offset)
        return self._output() or self._changed() or self._confirm()

    def _output(self) -> str | bytes | Ending | None:
        if not self._spans:
            end = self._end()
            if self.offset >= end:
                return None
            try:
                self._spans = self._fetch(end)
            except OffsetGone as gone:
                return self._gap(gone.oldest)
            if self._stuck and self._may_jump:
                return self._gap(self._near_end())
        span = self._spans.pop()
        self.offset = span.offset + len(span.data)
        self._sent_any = True
        return self._frames.frame(span)

    def _fetch(self, end: int) -> list[Span]:
        """Return what comes next, last first."""
        if self._live_at is not None:
            end = min(end, self._live_at)
        spans = self._session.reader.spans(self.offset, min(_FRAME_BYTES, end - self.offset))
        spans.reverse()
        return spans

    def _end(self) -> int:
        """Where the output of this generation ends so far."""
        record = self._session.record
        if record.generation > self._generation:
            return record.generation_offset
        return self._session.reader.next

    @property
    def _may_jump(self) -> bool:
        behind = self._end() - self.offset
        return self._session.record.spec.tty and behind > _STUCK_BEHIND_BYTES

    def _near_end(self) -> int:
        self._spans.clear()
        return self._end() - _FRAME_BYTES

    def _gap(self, to: int) -> str | Ending:
        """Pass over what is gone, or will not be sent."""
        if self._sent_any and self._on_slow == "disconnect":
            return Ending(TOO_SLOW, "too slow")
        self._stuck = False
        from_, self.offset = self.offset, to
        reason = "slow" if self._sent_any else "dropped"
        return text("gap", from_=from_, to=to, reason=reason)

    def _changed(self) -> str | Ending | None:
        """What the session's record says that this client was not told."""
        if self._session.version == self._version:
            return None
        record = self._session.record
        if record.generation > self._generation:
            return self._passed() or self._restarted()
        if record.size != self._size and record.size is not None:
            self._size = record.size
            return text("resized", rows=record.size.rows, cols=record.size.cols)
        if record.state.over and not self._ended:
            return self._exited(record)
        if self._ended and self._session.final:
            # One that waited for its next child, which was called off, has not told of its end.
            return Ending(NORMAL) if self._told_final else self._exit(record)
        self._version = self._session.version
        return None

    def _passed(self) -> str | None:
        """How this client's generation ended, though the next one has begun already."""
        former = self._session.former
        if self._ended or former is None or former.generation != self._generation:
            return None
        return self._exited(former)

    def _exited(self, record: SessionRecord) -> str:
        self._ended = True
        if self._input is not None and self._input.next > self._confirmed[0]:
            # No later message would tell the writer that this arrived.
            self.notes.extend(filter(None, [self._confirmation()]))
        self.notes.append(self._exit(record))
        return text("eof", offset=self.offset, complete=record.output_complete)

    def _exit(self, record: SessionRecord) -> str:
        outcome = record.outcome
        self._told_final = record is self._session.record and record.state.ended
        return text(
            "exit",
            outcome=outcome.kind.value if outcome else "lost",
            exit_code=outcome.exit_code if outcome else None,
            signal=outcome.signal if outcome else None,
            final=self._told_final,
        )

    def _restarted(self) -> str:
        record = self._session.record
        self._generation = record.generation
        self._ended = False
        self._size = record.size
        former, self._input = self._input, None
        if former is not None and former.delivered < former.next:
            self.notes.append(text("input_dropped", from_=former.delivered, to=former.next))
        return text("restarted", generation=record.generation, offset=record.generation_offset)

    def _confirm(self) -> str | None:
        """Say how far input is safe, if that is news and it is time to."""
        self._input = input_ = self._session.input or self._input
        if input_ is None or not self._writes:
            return None
        news = max(
            input_.next - self._confirmed[0],
            input_.delivered + input_.limit - self._confirmed[1],
        )
        if news == 0:
            return None
        now_s = self._clock.monotonic()
        if news < _CONFIRM_AT_ONCE_BYTES:
            if self._confirm_at_s is None:
                self._confirm_at_s = now_s + _CONFIRM_S
                self._timer = self._clock.call_later(_CONFIRM_S, self._confirm_is_due)
            if now_s < self._confirm_at_s:
                return None
        return self._confirmation()

    def _confirm_is_due(self) -> None:
        """The timer rang, which is what counts: the loop's clock may be a moment ahead of ours."""
        self._confirm_at_s = 0.0
        self._session.changes.notify()

    def _confirmation(self) -> str | None:
        input_ = self._input
        if input_ is None or not self._writes:
            return None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._confirm_at_s = None
        self._confirmed = (input_.next, input_.delivered + input_.limit)
        return text("input", next=self._confirmed[0], limit=self._confirmed[1])

    async def _transmit(self, send: Send, message: str | bytes) -> None:
        """Send one message; uvicorn returns when what was sent before it is on its way."""
        kind = "text" if isinstance(message, str) else "bytes"
        began_s = self._clock.monotonic()
        await send({"type": "websocket.send", kind: message})
        self._stuck = self._clock.monotonic() - began_s > _STUCK_S

    async def _transmit_or_give_up(self, send: Send, message: str | bytes) -> None:
        """Send one message, unless the ring overtakes the client meanwhile."""
        sending = asyncio.ensure_future(self._transmit(send, message))
        try:
            while not sending.done():
                change = asyncio.ensure_future(self._session.changes.wait())
                await asyncio.wait({sending, change}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                if not sending.done() and self._session.reader.oldest > self.offset:
                    raise TooSlow
            sending.result()
        finally:
            sending.cancel()

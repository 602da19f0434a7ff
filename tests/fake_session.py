"""A session without processes and files, for tests of what looks at one; and a virtual clock."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from supervisor.attachments import Attachments
from supervisor.broadcast import Broadcast
from supervisor.errors import InputConflict, Refused, TooLarge
from supervisor.output.reader import OffsetGone, Span, Stream
from supervisor.records import Outcome, OutcomeKind, OutputSpec, SessionRecord, Spec, State

STARTED_US = 1_700_000_000_000_000


class VirtualTimer:
    """A call that `VirtualClock.advance` makes."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class VirtualClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._number = count()
        self._timers: list[tuple[float, int, VirtualTimer]] = []

    def monotonic(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return STARTED_US + round((self.now_s - 1000.0) * 1_000_000)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(call)
        heapq.heappush(self._timers, (self.now_s + delay_s, next(self._number), timer))
        return timer

    def pending(self) -> list[float]:
        """When the timers that were not cancelled are due, in seconds from now."""
        return [at - self.now_s for at, _, timer in sorted(self._timers) if timer.call]

    def advance(self, seconds: float) -> None:
        """Let time pass, and make the calls that are due meanwhile, each at its time."""
        until = self.now_s + seconds
        while self._timers and self._timers[0][0] <= until:
            at, _, timer = heapq.heappop(self._timers)
            self.now_s = max(self.now_s, at)
            call, timer.call = timer.call, None
            if call is not None:
                call()
        self.now_s = until


class FakeReader:
    """A log in memory, one span for each `append`."""

    def __init__(self) -> None:
        self.oldest = self.next = 0
        self._spans: list[Span] = []

    def append(self, data: bytes, stream: int = 1, time_ns: int = STARTED_US * 1000) -> None:
        self._spans.append(Span(self.next, Stream(stream), data, time_ns))
        self.next += len(data)

    def drop(self, to: int) -> None:
        self.oldest = to

    def spans(self, offset: int, max_bytes: int) -> list[Span]:
        if offset < self.oldest:
            raise OffsetGone(offset, self.oldest, self.next)
        end, found = offset + max_bytes, []
        for span in self._spans:
            start = max(offset, span.offset)
            stop = min(end, span.offset + len(span.data))
            if start < stop:
                data = span.data[start - span.offset : stop - span.offset]
                found.append(Span(start, span.stream, data, span.time_ns))
        return found

    def tail_offset(self, *, max_bytes: int | None = None, lines: int | None = None) -> int:
        del lines
        return self.next if max_bytes is None else max(self.oldest, self.next - max_bytes)


class FakeInput:
    """A journal in memory that delivers when told to."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.delivered = 0
        self.limit = 1024
        self.open = True

    @property
    def next(self) -> int:
        return len(self.content)

    @property
    def room(self) -> int:
        return self.limit - (self.next - self.delivered)

    def write(self, data: bytes, offset: int | None = None) -> int:
        at = self.next if offset is None else offset
        if at > self.next or self.content[at : at + len(data)] != data[: self.next - at]:
            raise InputConflict("something else", next=self.next)
        new = data[self.next - at :]
        if new and not self.open:
            raise Refused("input was ended")
        if len(new) > self.room:
            raise TooLarge("no room")
        self.content += new
        return self.next


class FakeSession:
    """What the tests set is what is seen."""

    def __init__(self, *, tty: bool = False, on_full: str = "drop") -> None:
        spec = Spec(command=("true",), tty=tty, output=OutputSpec(on_full=on_full))
        self.record = SessionRecord(
            id="s1",
            spec=spec,
            spec_hash=spec.digest(),
            kind="start",
            node="n",
            created_by="me",
            created_at_us=STARTED_US,
            started_at_us=STARTED_US,
            state=State.RUNNING,
            on_full=on_full,
            pid=42,
        )
        self.version = 0
        self.former: SessionRecord | None = None
        self.reader: Any = FakeReader()
        self.changes = Broadcast()
        self.attachments = Attachments()
        self.input: Any = FakeInput()
        self.stalled: str | None = None
        self.takens: list[int] = []
        self.notes: list[tuple[str, Mapping[str, Any]]] = []
        self.input_ends = 0
        self.bytes_on_disk = 0

    @property
    def final(self) -> bool:
        return self.record.state.ended

    def pids(self) -> list[int]:
        return [42]

    def taken(self, offset: int) -> None:
        self.takens.append(offset)

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        self.notes.append((kind, data))

    async def end_input(self) -> None:
        self.input_ends += 1
        self.input.open = False

    def show(self, **changes: Any) -> None:
        """Change the record, as the session actor does."""
        self.record = self.record.but(**changes)
        self.version += 1
        self.changes.notify()

    def prints(self, data: bytes, stream: int = 1, time_ns: int = STARTED_US * 1000) -> None:
        self.reader.append(data, stream, time_ns)
        self.changes.notify()

    def exits(self, code: int = 0) -> None:
        outcome = Outcome(OutcomeKind.EXITED, code, None, f"exited with status {code}")
        self.show(state=State.EXITED, outcome=outcome, output_complete=True)

    def restarts(self) -> None:
        """The next generation begins at once, as after a restart of a running session."""
        outcome = Outcome(OutcomeKind.EXITED, 143, None, "exited with status 143")
        self.former = self.record.but(outcome=outcome)
        self.show(
            generation=self.record.generation + 1,
            generation_offset=self.reader.next,
            state=State.STARTING,
        )


async def turns(number: int = 10) -> None:
    """Let every task that can run do so."""
    loop = asyncio.get_running_loop()
    for _ in range(number):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn

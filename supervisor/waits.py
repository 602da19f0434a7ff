"""Waiting for something about a session: its end, a change, a port, a log line, silence.

Rules
- Of several conditions that hold, the one that was asked for first answers.
- Once this generation has ended nothing but its restart can still make a condition hold: the
  answer comes at once, after all output has been searched.
- `log` looks at every byte from its offset on, whatever came before the question, line by line;
  a line without its end is looked at too, since a prompt has none.
- `idle` counts from the last byte of output, also when that came before the question. After an
  adoption the log's own times say when that was.
- /proc is polled only while somebody waits for a port: after 50 ms, then ever later, 250 ms.
- Decisions are `Wait.look`, which is pure but for reading the log; `wait_for` only sleeps.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from supervisor.broadcast import Broadcast
from supervisor.clock import Clock
from supervisor.conditions import (
    Condition,
    UntilChange,
    UntilEnded,
    UntilExit,
    UntilIdle,
    UntilLog,
    UntilPort,
)
from supervisor.errors import Conflict
from supervisor.listeners import Listener, Listening
from supervisor.log_search import LogSearch
from supervisor.output.reader import LogReader, OffsetGone
from supervisor.records import SessionRecord

__all__ = ["Listen", "Wait", "Waited", "Watched", "wait_for"]

Evidence = Mapping[str, Any]
Reason = Literal["met", "timeout", "ended"]
Listen = Callable[[Collection[int], int | None], Awaitable[Listening]]

_POLL_FIRST_S = 0.05
_POLL_GROWTH = 1.25
_POLL_LAST_S = 0.25


class Watched(Protocol):
    """What is asked of a session here."""

    record: SessionRecord
    version: int
    reader: LogReader
    changes: Broadcast

    @property
    def final(self) -> bool:
        """Whether it has ended and nothing follows."""

    def pids(self) -> list[int]:
        """Return the live processes of the tree."""


@dataclass(frozen=True, slots=True)
class Waited:
    """How it ended. `met` is an index into the conditions; `reason` is met, timeout or ended."""

    met: int | None
    reason: Reason
    evidence: Evidence | None
    next_offset: int


class Wait:
    """One question to one session, looked at again and again.

    Raises Conflict when `generation` lies in the future.
    """

    def __init__(
        self,
        session: Watched,
        conditions: Sequence[Condition],
        clock: Clock,
        *,
        generation: int | None = None,
        from_offset: int | None = None,
    ) -> None:
        record = session.record
        if generation is not None and generation > record.generation:
            raise Conflict("that generation has not begun", generation=record.generation)
        self.session = session
        self._conditions = conditions
        self.clock = clock
        self.generation = generation or record.generation
        self._version = session.version
        start = record.generation_offset if from_offset is None else from_offset
        self._logs = {
            at: LogSearch(session.reader, one.search, start, one.stream)
            for at, one in enumerate(conditions)
            if isinstance(one, UntilLog)
        }
        self._idle_next = session.reader.next
        self._idle_since = clock.monotonic() - self._silence_s()
        self.found = Listening()

    @property
    def ports(self) -> set[int | None]:
        """Which ports are asked for, None for any."""
        return {one.port for one in self._conditions if isinstance(one, UntilPort)}

    @property
    def behind(self) -> bool:
        """Whether there is output that was not searched yet: look again at once."""
        return any(log.behind for log in self._logs.values())

    @property
    def over(self) -> bool:
        """Whether this generation has ended."""
        record = self.session.record
        return record.generation > self.generation or record.state.over

    def look(self) -> Waited | None:
        """Return the answer if there is one now."""
        reader = self.session.reader
        if reader.next != self._idle_next:
            self._idle_next = reader.next
            self._idle_since = self.clock.monotonic()
        if self.session.record.generation > self.generation:
            self._end_searches(self.session.record.generation_offset)
        over = self.over  # before the search: output that came first is then searched as well
        for at, condition in enumerate(self._conditions):
            evidence = self._holds(at, condition)
            if evidence is not None:
                return Waited(at, "met", evidence, reader.next)
        if over and not self.behind and not self._may_still_end:
            return Waited(None, "ended", self._end() | self._stranger(), reader.next)
        return None

    def _end_searches(self, offset: int) -> None:
        """What follows `offset` was printed by another generation."""
        for log in self._logs.values():
            log.limit = min(log.limit, offset)

    def timed_out(self) -> Waited:
        """Return the answer when the time is over."""
        return Waited(None, "timeout", self._stranger() or None, self.session.reader.next)

    def next_look_s(self, poll_at_s: float) -> float:
        """Return when to look again though nothing changed, in monotonic seconds."""
        if self.over:
            return math.inf
        silences = [one.seconds for one in self._conditions if isinstance(one, UntilIdle)]
        at_s = self._idle_since + min(silences, default=math.inf)
        return min(at_s, poll_at_s) if self.ports else at_s

    @property
    def _may_still_end(self) -> bool:
        waits = any(isinstance(one, UntilEnded | UntilChange) for one in self._conditions)
        return waits and not self.session.final

    def _holds(self, at: int, condition: Condition) -> Evidence | None:
        match condition:
            case UntilExit():
                return self._end() if self.over else None
            case UntilEnded():
                return self._end() if self.session.final else None
            case UntilChange():
                return self._changed()
            case UntilPort(port):
                return self._listens(port)
            case UntilLog():
                return self._logs[at].look()
            case UntilIdle(seconds):
                return self._quiet(seconds)

    def _end(self) -> dict[str, Any]:
        """How the generation ended; of one that was followed by another only its number is left."""
        record = self.session.record
        outcome = record.outcome if record.state.over else None
        if outcome is None:
            return {"generation": self.generation}
        return {
            "generation": record.generation,
            "outcome": outcome.kind.value,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
        }

    def _changed(self) -> Evidence | None:
        if self.session.version == self._version:
            return None
        record = self.session.record
        return {"state": record.state.shown, "generation": record.generation}

    def _listens(self, port: int | None) -> Evidence | None:
        own = next((one for one in self.found.own if port in (None, one.port)), None)
        return None if own is None or self.over else _seen(own)

    def _quiet(self, seconds: float) -> Evidence | None:
        now_s = self.clock.monotonic()
        if self.over or now_s < self._idle_since + seconds:
            return None
        return {"idle": now_s - self._idle_since, "offset": self.session.reader.next}

    def _stranger(self) -> dict[str, Any]:
        foreign = self.found.foreign
        if foreign is None:
            return {}
        return {"port": foreign.port, "foreign": _seen(foreign) | {"command": foreign.command}}

    def _silence_s(self) -> float:
        """How long there was no output before the question, by the wall clock's records."""
        record, reader = self.session.record, self.session.reader
        last_us = record.started_at_us or record.created_at_us
        if reader.next > max(reader.oldest, record.generation_offset):
            with suppress(OffsetGone):  # dropped at this moment: the start of the child counts
                last_us = max(last_us, reader.spans(reader.next - 1, 1)[0].time_ns // 1000)
        return max(0.0, (self.clock.wall_us() - last_us) / 1_000_000)


async def wait_for(wait: Wait, timeout_s: float, listen: Listen) -> Waited:
    """Return when a condition holds, the session ends first, or the time is over.

    `listen` finds listening sockets without blocking the event loop. Cancelling leaves nothing.
    """
    clock = wait.clock
    deadline_s = clock.monotonic() + timeout_s
    poll_at_s, poll_s = clock.monotonic(), _POLL_FIRST_S
    while True:
        if wait.ports and not wait.over and clock.monotonic() >= poll_at_s:
            wait.found = await _listen(wait, listen)
            poll_at_s, poll_s = clock.monotonic() + poll_s, min(poll_s * _POLL_GROWTH, _POLL_LAST_S)
        answer = wait.look()
        if answer is not None:
            return answer
        now_s = clock.monotonic()
        if now_s >= deadline_s:
            return wait.timed_out()
        if wait.behind:
            await asyncio.sleep(0)  # others have their turn; there is more to search
            continue
        await _sleep(wait, min(deadline_s, wait.next_look_s(poll_at_s)) - now_s)


async def _listen(wait: Wait, listen: Listen) -> Listening:
    """One look at /proc; of several ports each finds its own, and the last stranger is named."""
    pids = wait.session.pids()
    own: tuple[Listener, ...] = ()
    foreign: Listener | None = None
    for port in sorted(wait.ports, key=lambda one: one or 0):
        found = await listen(pids, port)
        own, foreign = own + found.own, found.foreign or foreign
    return Listening(own, foreign)


async def _sleep(wait: Wait, delay_s: float) -> None:
    """Sleep until something changes, at most so long.

    The timer rings the session's bell, which wakes others too: they look and sleep on.
    """
    changes = wait.session.changes
    timer = wait.clock.call_later(max(0.0, delay_s), changes.notify)
    try:
        await changes.wait()
    finally:
        timer.cancel()


def _seen(listener: Listener) -> dict[str, Any]:
    return {"port": listener.port, "address": listener.address, "pid": listener.pid}

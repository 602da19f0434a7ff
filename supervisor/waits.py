"""Waiting for something about a session: its end, a change, a port, a log line, a URL, silence.

Rules
- Of several conditions that hold, the one that was asked for first answers.
- Once this generation has ended nothing but its restart can still make a condition hold: the
  answer comes at once, after all output has been searched.
- `log` looks at every byte from its offset on, whatever came before the question, line by line;
  a line without its end is looked at too, since a prompt has none. Equal ones share their search.
- `idle` counts from the last byte of output, also when that came before the question. After an
  adoption the log's own times say when that was.
- Ports and URLs are looked at only while somebody waits for them (`polling.py`), each at least
  once, however short the time; that delays no other condition.
- Decisions are `Wait.look`, which is pure but for reading the log; `wait_for` only sleeps.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.clock import Clock
from supervisor.conditions import (
    Condition,
    UntilChange,
    UntilEnded,
    UntilExit,
    UntilHttp,
    UntilIdle,
    UntilLog,
    UntilPort,
    UntilReady,
)
from supervisor.errors import Conflict
from supervisor.listeners import Listener
from supervisor.log_watch import LogWatch, Seat, Watched, watching
from supervisor.output.reader import OffsetGone
from supervisor.polling import Looked, Polling, sleep
from supervisor.records import is_ready
from supervisor.senses import Senses

__all__ = ["Wait", "Waited", "Watched", "wait_for"]

Evidence = Mapping[str, Any]
Reason = Literal["met", "timeout", "ended"]


@dataclass(frozen=True, slots=True)
class Waited:
    """How it ended. `met` is an index into the conditions; `reason` is met, timeout or ended."""

    met: int | None
    reason: Reason
    evidence: Evidence | None
    next_offset: int


class Wait:
    """One question to one session, looked at again and again.

    `fresh`: silence before the question does not count, as after an input that is to be answered.
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
        fresh: bool = False,
    ) -> None:
        record = session.record
        if generation is not None and generation > record.generation:
            raise Conflict("that generation has not begun", generation=record.generation)
        self.session = session
        self._conditions = conditions
        self.clock = clock
        self.generation = generation or record.generation
        self._version = session.version
        self._start = record.generation_offset if from_offset is None else from_offset
        self._logs: dict[int, Seat] = {}
        self._idle_next = session.reader.next
        self._idle_since = clock.monotonic() - (0.0 if fresh else self._silence_s())
        self._watch: LogWatch | None = None
        self.bell = asyncio.Event()
        self.looked = Looked()

    @property
    def ports(self) -> set[int | None]:
        """Which ports are asked for, None for any."""
        return {one.port for one in self._conditions if isinstance(one, UntilPort)}

    @property
    def urls(self) -> set[str]:
        """Which URLs are asked for."""
        return {one.url for one in self._conditions if isinstance(one, UntilHttp)}

    def begin(self, watch: LogWatch, seats: list[Seat]) -> None:
        """Take a place at the search of each pattern; they are added to `seats`."""
        self._watch = watch
        for at, one in enumerate(self._conditions):
            if isinstance(one, UntilLog):
                seat = watch.seat(one.search, one.stream, self.generation, self._start, self.bell)
                self._logs[at] = seat
                seats.append(seat)

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
        if reader.next != self._idle_next and self._watch is not None:
            self._idle_next = reader.next
            self._idle_since = self._watch.moved_at_s()
        over = self.over  # before the search: output that came first is then searched as well
        for at, condition in enumerate(self._conditions):
            evidence = self._holds(at, condition)
            if evidence is not None:
                return Waited(at, "met", evidence, reader.next)
        if over and not self.behind and not self._may_still_end:
            return Waited(None, "ended", self._end() | self._seen_last(), reader.next)
        return None

    def timed_out(self) -> Waited:
        """Return the answer when the time is over."""
        return Waited(None, "timeout", self._seen_last() or None, self.session.reader.next)

    def next_look_s(self) -> float:
        """Return when to look again though nothing changed, in monotonic seconds."""
        if self.over:
            return math.inf
        silences = [one.seconds for one in self._conditions if isinstance(one, UntilIdle)]
        return self._idle_since + min(silences, default=math.inf)

    @property
    def _may_still_end(self) -> bool:
        waits = any(isinstance(one, UntilEnded | UntilChange) for one in self._conditions)
        return waits and not self.session.final

    def _holds(self, at: int, condition: Condition) -> Evidence | None:  # noqa: PLR0911  (one case each)
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
            case UntilHttp():
                return self._answers(condition)
            case UntilReady():
                return self._ready()

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
        own = next((one for one in self.looked.ports.own if port in (None, one.port)), None)
        return None if own is None or self.over else _seen(own)

    def _answers(self, asked: UntilHttp) -> Evidence | None:
        answer = self.looked.answers.get(asked.url)
        if answer is None or self.over or not answer.is_status(asked.status):
            return None
        return {"http": asked.url, "status": answer.status}

    def _ready(self) -> Evidence | None:
        record = self.session.record
        if record.generation != self.generation or not is_ready(record):
            return None
        return {"ready": True, "generation": record.generation}

    def _quiet(self, seconds: float) -> Evidence | None:
        now_s = self.clock.monotonic()
        if self.over or now_s < self._idle_since + seconds:
            return None
        return {"idle": now_s - self._idle_since, "offset": self.session.reader.next}

    def _seen_last(self) -> dict[str, Any]:
        """What was found where nothing held: a stranger on the port, the URL's last answer."""
        found: dict[str, Any] = {}
        foreign = self.looked.ports.foreign
        if foreign is not None:
            found |= {"port": foreign.port}
            found |= {"foreign": _seen(foreign) | {"command": foreign.command}}
        for url, answer in self.looked.answers.items():
            told = {"error": answer.error} if answer.status is None else {"status": answer.status}
            found |= {"http": url} | told
        return found

    def _silence_s(self) -> float:
        """How long there was no output before the question, by the wall clock's records."""
        record, reader = self.session.record, self.session.reader
        last_us = record.started_at_us or record.created_at_us
        if reader.next > max(reader.oldest, record.generation_offset):
            with suppress(OffsetGone):  # dropped at this moment: the start of the child counts
                last_us = max(last_us, reader.spans(reader.next - 1, 1)[0].time_ns // 1000)
        return max(0.0, (self.clock.wall_us() - last_us) / 1_000_000)


async def wait_for(wait: Wait, timeout_s: float, senses: Senses) -> Waited:
    """Return when a condition holds, the session ends first, or the time is over.

    Cancelling leaves nothing.
    """
    seats: list[Seat] = []
    clock = wait.clock
    deadline_s = clock.monotonic() + timeout_s
    async with watching(wait.session, clock, wait.bell, seats) as watch, _polling(wait, senses):
        wait.begin(watch, seats)
        while True:
            wait.bell.clear()
            watch.check()
            wait.looked.check()
            answer = wait.look()
            if answer is not None:
                return answer
            now_s = clock.monotonic()
            if now_s >= deadline_s and wait.looked.once:
                return wait.timed_out()
            if wait.behind:
                await asyncio.sleep(0)  # others have their turn; there is more to search
                continue
            until_s = deadline_s if wait.looked.once else math.inf
            await sleep(clock, min(until_s, wait.next_look_s()) - now_s, wait.bell)


def _polling(wait: Wait, senses: Senses) -> Polling:
    return Polling(wait.looked, wait, senses)


def _seen(listener: Listener) -> dict[str, Any]:
    return {"port": listener.port, "address": listener.address, "pid": listener.pid}

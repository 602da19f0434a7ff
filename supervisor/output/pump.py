"""The pump: one thread that moves the output of all sessions into their logs, and input on.

Rules
1. At most 64 KiB per descriptor and turn: a flood starves nobody, and a slow disk stops this thread
   and never the event loop.
2. Waiting is level-triggered, so what one turn leaves behind wakes the next. A session that may not
   be read now is taken out of epoll altogether: a mask of zero still reports hang-ups.
3. A descriptor is unregistered before it is closed. The keeper holds a copy of each, so close(2)
   alone would leave it in the epoll set (epoll(7), question 6).
4. Events keep their order per session. `Advanced` is told at once when the pump has nothing else to
   do, and under load at most every 2 ms for each session.
5. A full disk is retried by the clock, a full ring (`on_full: block`) when its reader moves.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from supervisor.output.events import (
    Advanced,
    AllEnded,
    Discarding,
    Dropped,
    InputEnded,
    NodeFilling,
    PumpEvent,
    PumpFailed,
    Resumed,
    Stalled,
    StallReason,
    StreamEnded,
    TapRemoved,
)
from supervisor.output.feed import Feeds
from supervisor.output.log import CHUNK_BYTES
from supervisor.output.space import Space
from supervisor.output.tap import Line, OnFull, Source, Tap

_EVENTS_PER_TURN = 64
_HOLD_NS = 2_000_000
_RETRY_S = 0.25
_FILLING_EVERY_S = 1.0


class Pump:
    """Moves bytes for any number of taps on a thread of its own.

    `notify` gets the events of one turn, on that thread; it must return soon and not raise. All
    other methods may be called from any thread; what they ask for happens in the order of the
    calls. Unknown keys are ignored: the tap may just have been removed.
    """

    def __init__(self, notify: Callable[[Sequence[PumpEvent]], None], *, space: Space) -> None:
        self._notify = notify
        self._space = space
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._feeds = Feeds(self._epoll)
        self._commands: deque[Callable[[], None]] = deque()
        self._lines: dict[str, Line] = {}
        self._sources: dict[int, Source] = {}
        self._moved: list[Line] = []
        self._events: list[PumpEvent] = []
        self._refused: set[Line] = set()
        self._refusal: StallReason | None = None
        self._retry_at = 0.0
        self._filling_at = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self.run, name="pump", daemon=True)

    def start(self) -> None:
        """Begin to move bytes."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, then close all descriptors. Nothing is in flight afterwards."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join()
        self._obey()
        for key in tuple(self._lines):
            self._remove(key)
        self._epoll.close()
        os.close(self._wake)
        os.close(self._null)

    def add(self, tap: Tap) -> None:
        """Serve this session. Bytes that a former daemon left on the way are moved first.

        Pipes are registered here and now, which saves waking the thread: it comes to know them by
        their first event. A terminal may have bytes on the way, and those the thread moves.
        """
        piped = tap.master is None and (tap.stdout is not None or tap.stderr is not None)
        if piped and not self._commands:  # else in the order of the calls
            self._add(tap)
        else:
            self._post(lambda: self._add(tap))

    def remove(self, key: str) -> None:
        """Close the session's descriptors, delivered or not; ends with `TapRemoved`.

        A session whose outputs have ended and that took no input has none left: that may wait
        until the thread is awake for another reason, or `hasten` wakes it.
        """
        self._commands.append(lambda: self._remove(key))
        line = self._lines.get(key)
        if line is None or line.open or line.feed is not None:
            self.hasten()

    def hasten(self) -> None:
        """Have everything that was asked for done now."""
        os.eventfd_write(self._wake, 1)

    def deliver(self, key: str) -> None:
        """The journal grew. Done here and now when the child has room for it."""
        line = self._lines.get(key)
        if line is None:  # its `add` may still wait
            self._post(lambda: self._with_line(key, self._deliver))
            return
        self._deliver(line)
        if self._feeds.has_events:
            os.eventfd_write(self._wake, 1)

    def end_input(self, key: str) -> None:
        """Close stdin after all accepted input; ends with `InputEnded` (or `InputBroken`)."""
        self._post(lambda: self._with_line(key, self._end_input))

    def replace_journal(self, key: str, fd: int) -> None:
        """Go on with the empty journal `fd`; all input in the former one is delivered."""
        self._post(lambda: self._replace_journal(key, fd))

    def taken(self, key: str, offset: int) -> None:
        """Lossless readers have everything below `offset`."""
        self._post(lambda: self._with_line(key, lambda line: self._taken(line, offset)))

    def set_on_full(self, key: str, mode: OnFull) -> None:
        """Drop the oldest segment when the ring is full, or wait for the reader."""
        self._post(lambda: self._with_line(key, lambda line: self._set_on_full(line, mode)))

    def discard(self, key: str) -> None:
        """Read on, but throw the output away: what leftovers print is nobody's."""
        self._post(lambda: self._with_line(key, self._discard))

    def run(self) -> None:
        """The thread's body; a test may run it on a thread of its own choice."""
        try:
            while not self._stopping:
                self._turn()
        except Exception as error:  # the owner is told: without a pump the daemon must restart
            self._notify([PumpFailed(repr(error))])
            raise

    def _turn(self) -> None:
        ready = self._epoll.poll(0 if self._moved else self._patience(), _EVENTS_PER_TURN)
        now_ns = time.time_ns()
        sources = self._sources
        for fd, mask in ready:
            source = sources.get(fd)
            if source is not None:
                self._read(source, mask, now_ns)
            elif fd == self._wake:
                os.eventfd_read(fd)
            else:
                self._feeds.ready(fd)
        if self._commands:
            self._obey()
        if self._refused:
            self._retry()
        if self._moved:
            self._settle(now_ns, idle=not ready)
        if self._events or self._feeds.has_events:
            self._tell()

    def _patience(self) -> float:
        """How long to wait for something to happen, in seconds; -1 is for ever."""
        return max(0.0, self._retry_at - time.monotonic()) if self._refused else -1

    def _read(self, source: Source, mask: int, now_ns: int) -> None:
        line = source.line
        if line.stalled is not None:  # earlier in this very turn
            return
        if not mask & select.EPOLLIN and source.ended():
            self._end(source)
            return
        try:
            if line.discarding:
                moved = source.throw(self._null)
            else:
                moved = self._store(source, line, now_ns)
        except BlockingIOError:
            return
        except OSError:
            self._stall(line, "disk")
            return
        if moved == 0:
            self._end(source)
        elif source.pending:  # nothing else would wake us for these
            self._read(source, mask, now_ns)

    def _store(self, source: Source, line: Line, now_ns: int) -> int:
        """Move bytes into the log; 0 is the end, -1 that the session was stalled instead."""
        log = line.log
        room = line.limit - log.next
        why = self._refusal
        if why is None and (room <= 0 or (line.blocks and not self._fits(line))):
            why = "reader"
        if why is not None:
            self._stall(line, why)
            return -1
        moved = source.move(log, now_ns, min(room, CHUNK_BYTES))
        if moved and not line.moved:
            line.moved = True
            self._moved.append(line)
        return moved

    def _fits(self, line: Line) -> bool:
        """With `block`, whether the index has not outgrown the ring: tiny writes, 32 bytes each."""
        log = line.log
        bound = log.capacity + 2 * log.segment_bytes
        if log.bytes_on_disk >= bound:
            log.trim()
        return log.bytes_on_disk < bound

    def _settle(self, now_ns: int, *, idle: bool) -> None:
        held = []
        for line in self._moved:
            if not idle and 0 <= now_ns - line.told_ns < _HOLD_NS:
                held.append(line)
            else:
                self._announce(line, now_ns)
        self._moved = held
        self._refusal = self._space.refusal()
        if self._space.filling and time.monotonic() >= self._filling_at:
            self._filling_at = time.monotonic() + _FILLING_EVERY_S
            self._events.append(NodeFilling(self._space.used_bytes, self._space.node_bytes))

    def _announce(self, line: Line, now_ns: int) -> None:
        log = line.log
        line.moved = False
        line.told_ns = now_ns
        if line.announced is not None:
            line.announced = None
            self._events.append(Resumed(line.key))
        if log.oldest != line.oldest:
            if not line.blocks:
                self._events.append(Dropped(line.key, line.oldest, log.oldest))
            line.oldest = log.oldest
        self._events.append(Advanced(line.key, log.next, log.oldest, now_ns))
        self._space.hold(line.key, log.bytes_on_disk)

    def _announce_now(self, line: Line) -> None:
        """Before another event of that session: it is not to overtake its bytes."""
        if line.moved:
            self._moved.remove(line)
            self._announce(line, time.time_ns())

    def _tell(self) -> None:
        events, self._events = self._events, []
        if self._feeds.has_events:
            events += self._feeds.events()
        self._notify(events)

    def _stall(self, line: Line, why: StallReason) -> None:
        self._announce_now(line)
        for source in line.open:
            self._forget(source)
        line.stalled = why
        if line.announced != why:
            line.announced = why
            self._events.append(Stalled(line.key, why))
        if why != "reader":
            if not self._refused:
                self._retry_at = time.monotonic() + _RETRY_S
            self._refused.add(line)

    def _resume(self, line: Line) -> None:
        line.stalled = None
        self._refused.discard(line)
        for source in tuple(line.open):
            self._watch(source)
            if source.pending:
                self._read(source, select.EPOLLIN, time.time_ns())

    def _retry(self) -> None:
        """Let the sessions that the disk refused try again, if there is room at all."""
        if time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + _RETRY_S
        self._refusal = self._space.look()
        if self._refusal is None:
            for line in tuple(self._refused):
                self._resume(line)

    def _end(self, source: Source) -> None:
        line = source.line
        self._announce_now(line)
        self._forget(source)
        line.open.remove(source)
        if line.feed is not None and source.fd == line.feed.sink:
            # A master without slaves still takes bytes, into nowhere.
            self._feeds.cut(line.feed)
            self._events += self._feeds.events()
        source.close()
        self._events.append(StreamEnded(line.key, source.stream))
        if not line.open:
            line.log.close()
            self._events.append(AllEnded(line.key))

    def _watch(self, source: Source) -> None:
        if source.fd not in self._sources:
            self._sources[source.fd] = source
            self._epoll.register(source.fd, select.EPOLLIN)

    def _forget(self, source: Source) -> None:
        if self._sources.pop(source.fd, None) is not None:
            self._epoll.unregister(source.fd)

    def _post(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self.hasten()

    def _obey(self) -> None:
        with suppress(IndexError):
            while True:
                self._commands.popleft()()

    def _with_line(self, key: str, act: Callable[[Line], None]) -> None:
        line = self._lines.get(key)
        if line is not None:
            act(line)

    def _add(self, tap: Tap) -> None:
        if tap.key in self._lines:
            raise ValueError(f"session {tap.key} has a tap already")
        for fd in (tap.stdout, tap.stderr, tap.stdin, tap.master):
            if fd is not None:
                os.set_blocking(fd, False)
        line = Line(tap)
        self._lines[tap.key] = line
        self._space.hold(tap.key, tap.log.bytes_on_disk)
        if not line.open:
            self._events.append(AllEnded(tap.key))
        self._resume(line)
        self._deliver(line)

    def _remove(self, key: str) -> None:
        line = self._lines.pop(key, None)
        if line is None:
            return
        self._announce_now(line)
        self._refused.discard(line)
        if line.feed is not None:
            self._feeds.remove(line.feed)
        for source in line.open:
            self._forget(source)
            source.close()
        line.log.close()
        self._events += [*self._feeds.events(), TapRemoved(key)]

    def _deliver(self, line: Line) -> None:
        if line.feed is not None:
            self._feeds.deliver(line.feed)

    def _end_input(self, line: Line) -> None:
        if line.feed is not None:
            self._feeds.end(line.feed)
        else:
            self._events.append(InputEnded(line.key))

    def _replace_journal(self, key: str, fd: int) -> None:
        line = self._lines.get(key)
        if line is None or line.feed is None:
            os.close(fd)
        else:
            self._feeds.replace_journal(line.feed, fd)

    def _taken(self, line: Line, offset: int) -> None:
        line.take_note(offset)
        if line.stalled == "reader":
            self._resume(line)

    def _set_on_full(self, line: Line, mode: OnFull) -> None:
        line.set_on_full(mode)
        if line.stalled == "reader":
            self._resume(line)

    def _discard(self, line: Line) -> None:
        self._announce_now(line)
        line.discarding = True
        self._events.append(Discarding(line.key))
        if line.stalled is not None:
            self._resume(line)

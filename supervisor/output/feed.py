"""The input side of the sessions: journal -> stdin, or journal -> relay -> pty master.

Rules
1. The journal is a memfd. Its size is how much input was accepted, its shared file position how
   much was delivered, both absolute: one that replaces another begins with a hole of that length.
   `splice` moves the position with the bytes, so a SIGKILL falls before or after. Whoever appends
   uses `pwrite` and never moves the position.
2. A terminal takes no splice from a file, so a pipe (`input_relay`) stands between. Bytes in it
   count as undelivered, and after a restart they go first.
3. The journal is never punched or truncated: its pages are still in the pipe after delivery. Its
   descriptor stays open until the tap is removed, since the owner writes to it.
4. Delivery happens on the thread that asks for it (a keystroke saves one change of threads) or,
   when the child is not reading, on the pump's. One lock covers both; nothing under it blocks.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import threading

from supervisor.output.events import Delivered, InputBroken, InputEnded, PumpEvent

_CHUNK_BYTES = 64 * 1024
_TERMINAL_CHUNK_BYTES = 4096  # N_TTY_BUF_SIZE: a line discipline takes no more at once


def waiting_bytes(pipe: int) -> int:
    """How many bytes are in a pipe (FIONREAD, ioctl_tty(2))."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


class Feed:
    """One session's accepted input on its way to the child; moved on without ever blocking."""

    __slots__ = (
        "_pending",
        "_position",
        "_relay",
        "_watched",
        "armed",
        "ending",
        "journal",
        "key",
        "open",
        "sink",
    )

    def __init__(self, key: str, journal: int, sink: int, relay: tuple[int, int] | None) -> None:
        self.key = key
        self.journal = journal
        self.sink = sink
        self.open = True
        self.armed = False
        self.ending = False
        self._relay = relay
        self._watched = -1
        self._pending = waiting_bytes(relay[0]) if relay else 0
        self._position = os.lseek(journal, 0, os.SEEK_CUR)

    @property
    def delivered(self) -> int:
        """Absolute input offset below which the child has everything."""
        return self._position - self._pending

    @property
    def watched(self) -> int:
        """The descriptor to wait on for room. A master is already waited on for output: a copy."""
        if self._watched < 0:
            self._watched = os.dup(self.sink) if self._relay else self.sink
        return self._watched

    def push(self) -> bool:
        """Move one chunk of what is left; answer whether everything accepted is delivered.

        Raises OSError (EPIPE, or EIO of a terminal) when nobody can read it any more.
        """
        left = os.fstat(self.journal).st_size - self._position
        try:
            if self._relay is not None:
                return self._push_pty(left, *self._relay)
            if left > 0:
                left -= self._move(self.sink, min(left, _CHUNK_BYTES))
        except BlockingIOError:
            return False
        return left <= 0

    def replace_journal(self, journal: int) -> None:
        """Go on with a new journal; the former one is all delivered, and is closed."""
        os.close(self.journal)
        self.journal = journal
        self._position = os.lseek(journal, 0, os.SEEK_CUR)

    def close_sink(self) -> None:
        """Deliver no more: stdin is closed, a terminal's master stays (output uses it)."""
        self.open = False
        if self._relay is None:
            os.close(self.sink)
        elif self._watched >= 0:
            os.close(self._watched)

    def close(self) -> None:
        """Close what is left. The descriptor of the journal may not be used by anyone now."""
        if self.open:
            self.close_sink()
        for fd in (self.journal, *(self._relay or ())):
            os.close(fd)

    def _move(self, target: int, count: int) -> int:
        moved = os.splice(self.journal, target, count, flags=os.SPLICE_F_NONBLOCK)
        self._position += moved
        return moved

    def _push_pty(self, left: int, source: int, target: int) -> bool:
        for _ in range(_CHUNK_BYTES // _TERMINAL_CHUNK_BYTES):
            while self._pending:
                count = self._pending
                self._pending -= os.splice(source, self.sink, count, flags=os.SPLICE_F_NONBLOCK)
            if left <= 0:
                return True
            moved = self._move(target, min(left, _TERMINAL_CHUNK_BYTES))
            self._pending += moved
            left -= moved
        return False


class Feeds:
    """All feeds of one pump: delivers, waits for room on the pump's epoll, collects events."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._lock = threading.Lock()
        self._waiting: dict[int, Feed] = {}
        self._events: list[PumpEvent] = []

    @property
    def has_events(self) -> bool:
        """Whether `events` has something to hand out."""
        return bool(self._events)

    def events(self) -> list[PumpEvent]:
        """What happened since the last call, in order."""
        with self._lock:
            told, self._events = self._events, []
        return told

    def ready(self, fd: int) -> None:
        """Epoll says that `fd` has room, or that its reader is gone."""
        feed = self._waiting.get(fd)
        if feed is not None:
            self.deliver(feed)

    def deliver(self, feed: Feed) -> None:
        """Move on what is accepted; wait for room when there is none. Any thread."""
        with self._lock:
            if feed.open:
                self._push(feed)

    def end(self, feed: Feed) -> None:
        """Close stdin once everything accepted is delivered."""
        with self._lock:
            if feed.open:
                feed.ending = True
                self._push(feed)

    def cut(self, feed: Feed) -> None:
        """Its terminal has ended: nothing can be delivered any more."""
        with self._lock:
            if feed.open:
                self._shut(feed, InputBroken(feed.key, feed.delivered))

    def replace_journal(self, feed: Feed, journal: int) -> None:
        """Swap the journal and deliver what the new one holds."""
        with self._lock:
            feed.replace_journal(journal)
            if feed.open:
                self._push(feed)

    def remove(self, feed: Feed) -> None:
        """Close all descriptors of `feed`, delivered or not."""
        with self._lock:
            self._disarm(feed)
            feed.close()

    def _push(self, feed: Feed) -> None:
        before = feed.delivered
        try:
            done = feed.push()
        except OSError:
            self._shut(feed, InputBroken(feed.key, feed.delivered))
            return
        if feed.delivered != before:
            self._events.append(Delivered(feed.key, feed.delivered))
        if not done:
            self._arm(feed)
        elif feed.ending:
            self._shut(feed, InputEnded(feed.key))
        else:
            self._disarm(feed)

    def _shut(self, feed: Feed, event: PumpEvent) -> None:
        self._disarm(feed)
        feed.close_sink()
        self._events.append(event)

    def _arm(self, feed: Feed) -> None:
        if not feed.armed:
            feed.armed = True
            self._waiting[feed.watched] = feed
            self._epoll.register(feed.watched, select.EPOLLOUT)

    def _disarm(self, feed: Feed) -> None:
        if feed.armed:
            feed.armed = False
            del self._waiting[feed.watched]
            self._epoll.unregister(feed.watched)

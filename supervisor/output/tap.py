"""One session as the pump sees it: what the owner hands over, and where its output comes from.

Rules
1. Every descriptor of a `Tap` belongs to the pump from `Pump.add` on, until `TapRemoved`.
2. A terminal takes no splice to a file: its bytes go master -> relay (a pipe) -> log. Bytes left in
   the relay by a former daemon go first.
3. A terminal has ended when the master says EIO. The keeper holds a slave until the leader is
   reaped, so EIO is never said between two processes of one session.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from supervisor.output.events import StallReason
from supervisor.output.feed import Feed, waiting_bytes
from supervisor.output.log import CHUNK_BYTES, KEEP_NOTHING, OutputLog
from supervisor.output.segments import Stream

OnFull = Literal["drop", "block"]

_HURRIED_PIPE_BYTES = 256 * 1024  # more gains nothing (measured), and 64 KiB leave a writer waiting


@dataclass(frozen=True, slots=True)
class Tap:
    """The descriptors of session `key` and the log its output goes to.

    Either `stdout` and `stderr` (None: not wanted; combined: `stdout` alone) or `master` with
    `relay` (read end, write end). Input: `journal` with `stdin`, or with `master` and
    `input_relay`; offsets in it are the session's own.
    """

    key: str
    log: OutputLog
    stdout: int | None = None
    stderr: int | None = None
    stdin: int | None = None
    master: int | None = None
    relay: tuple[int, int] | None = None
    input_relay: tuple[int, int] | None = None
    journal: int | None = None
    on_full: OnFull = "drop"


class Source(Protocol):
    """Where bytes of one output come from. `line` is the session it belongs to."""

    fd: int
    line: Line
    stream: Stream

    @property
    def pending(self) -> int:
        """Bytes that are on their way and would not wake epoll."""
        ...

    def move(self, log: OutputLog, now_ns: int, max_bytes: int) -> int:
        """Move bytes into the log; 0 is the end. Raises as `OutputLog.take`."""
        ...

    def throw(self, null: int) -> int:
        """Move bytes to `null` (/dev/null) instead."""
        ...

    def ended(self) -> bool:
        """Whether a hang-up without readable bytes is the end."""
        ...

    def close(self) -> None:
        """Close the descriptors."""
        ...


class PipeSource:
    """The read end of a pipe. It grows once a whole chunk was in it: its writer is in a hurry."""

    __slots__ = ("_grown", "fd", "line", "stream")
    pending = 0

    def __init__(self, line: Line, fd: int, stream: Stream) -> None:
        self.line = line
        self.fd = fd
        self.stream = stream
        self._grown = False

    def move(self, log: OutputLog, now_ns: int, max_bytes: int) -> int:
        """See `Source`."""
        moved = log.take(self.fd, self.stream, now_ns, max_bytes)
        if moved == CHUNK_BYTES and not self._grown:
            self._grown = True
            with suppress(OSError):  # fs.pipe-user-pages-soft is reached: slower, still right
                fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _HURRIED_PIPE_BYTES)
        return moved

    def throw(self, null: int) -> int:
        """See `Source`."""
        return os.splice(self.fd, null, CHUNK_BYTES, flags=os.SPLICE_F_NONBLOCK)

    def ended(self) -> bool:
        """EPOLLHUP without EPOLLIN: so a silent child needs no file and no splice."""
        return True

    def close(self) -> None:
        """See `Source`."""
        os.close(self.fd)


class PtySource:
    """A pty master with the pipe between it and the log."""

    __slots__ = ("_relay_in", "_relay_out", "fd", "line", "pending", "stream")

    def __init__(self, line: Line, master: int, relay: tuple[int, int]) -> None:
        self.line = line
        self.fd = master
        self.stream = Stream.STDOUT
        self._relay_out, self._relay_in = relay
        self.pending = waiting_bytes(self._relay_out)

    def move(self, log: OutputLog, now_ns: int, max_bytes: int) -> int:
        """See `Source`. What is left in the relay after an error goes first the next time."""
        if not self.pending and not self._fill():
            return 0
        moved = 0
        while self.pending and moved < max_bytes:
            wanted = min(self.pending, max_bytes - moved)
            try:
                count = log.take(self._relay_out, self.stream, now_ns, wanted)
            except OSError:
                if moved:  # these count; the next call meets the error again
                    break
                raise
            self.pending -= count
            moved += count
        return moved

    def throw(self, null: int) -> int:
        """See `Source`."""
        if not self.pending and not self._fill():
            return 0
        moved = os.splice(self._relay_out, null, self.pending)
        self.pending -= moved
        return moved

    def ended(self) -> bool:
        """A hang-up may still have bytes behind it: only EIO is the end."""
        try:
            return not self.pending and not self._fill()
        except BlockingIOError:
            return False

    def close(self) -> None:
        """See `Source`."""
        for fd in (self.fd, self._relay_out, self._relay_in):
            os.close(fd)

    def _fill(self) -> int:
        """Move bytes from the master into the empty relay; 0 is the end of the terminal."""
        try:
            self.pending = os.splice(
                self.fd, self._relay_in, CHUNK_BYTES, flags=os.SPLICE_F_NONBLOCK
            )
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.pending = 0
        return self.pending


class Line:
    """The pump's own record of a session. Only the pump thread changes it.

    `limit` is the offset at which the pump waits for the reader, `stalled` why it does not read
    now, `announced` the last `Stalled` that no `Resumed` has answered.
    """

    __slots__ = (
        "announced",
        "discarding",
        "feed",
        "key",
        "limit",
        "log",
        "moved",
        "oldest",
        "open",
        "stalled",
        "taken",
        "told_ns",
    )

    def __init__(self, tap: Tap) -> None:
        self.key = tap.key
        self.log = tap.log
        self.oldest = tap.log.oldest
        self.taken = tap.log.oldest
        self.told_ns = 0
        self.moved = False
        self.discarding = False
        self.stalled: StallReason | None = None
        self.announced: StallReason | None = None
        self.open: list[Source] = _sources(self, tap)
        self.feed = _feed(tap)
        self.set_on_full(tap.on_full)

    @property
    def blocks(self) -> bool:
        """Whether the child waits for lossless readers."""
        return self.limit != KEEP_NOTHING

    def set_on_full(self, mode: OnFull) -> None:
        """Wait for readers from here on, or never."""
        if mode == "block":
            self.taken = max(self.taken, self.log.oldest)
            self.limit = self.taken + self.log.capacity
            self.log.keep_from = self.taken
        else:
            self.limit = self.log.keep_from = KEEP_NOTHING

    def take_note(self, offset: int) -> None:
        """Readers have everything below `offset`."""
        self.taken = max(self.taken, offset)
        if self.blocks:
            self.set_on_full("block")


def _sources(line: Line, tap: Tap) -> list[Source]:
    if tap.master is not None and tap.relay is not None:
        return [PtySource(line, tap.master, tap.relay)]
    found: list[Source] = []
    if tap.stdout is not None:
        found.append(PipeSource(line, tap.stdout, Stream.STDOUT))
    if tap.stderr is not None:
        found.append(PipeSource(line, tap.stderr, Stream.STDERR))
    return found


def _feed(tap: Tap) -> Feed | None:
    sink = tap.stdin if tap.master is None else tap.master
    if tap.journal is None or sink is None:
        return None
    relay = tap.input_relay if tap.master is not None else None
    return Feed(tap.key, tap.journal, sink, relay)

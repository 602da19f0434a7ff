"""The writer half of one session's output log: a ring of segments with one cursor.

Rules
1. Bytes enter by one `splice(2)` from the pipe to an explicit offset in the segment, so that a
   SIGKILL falls before or after, never between. Nothing here reads a byte into memory.
2. Before the splice a record is written when the stream changes, 50 ms passed, or the segment is
   new: the reader of the index needs no other rule to attribute every byte.
3. Rule W: a record at the offset of the last record is written over it, otherwise behind it. This
   one line covers EAGAIN, end of file, a full disk and the leftover of a crash. (Not counting the
   record instead, while remembering its stream, attributes bytes to the wrong stream.)
4. When the record cannot be written, nothing is spliced.
5. Data and index of all segments never exceed the capacity; the oldest segment goes first, but
   never one that holds a byte at or above `keep_from`.
6. No file before the first byte. Never O_APPEND (splice refuses it), never O_SYNC (data would land
   and the failing sync would report an error: a repeated chunk), no fsync, no mmap.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.output.segments import (
    DATA_BYTES_PER_RECORD,
    MIN_CAPACITY_BYTES,
    RECORD,
    Hole,
    Segment,
    index_name,
    recover,
    segment_bytes,
    segment_name,
)

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 64 * 1024
"""At most so much is moved by one call: a flood starves nobody."""

RECORD_INTERVAL_NS = 50_000_000
KEEP_NOTHING = 1 << 63
"""`keep_from` of a log whose oldest segment may always go (`on_full: drop`)."""

_splice = os.splice
_pwrite = os.pwrite


class OutputLog:
    """One session's output on disk, written by one thread.

    `oldest` and `next` are absolute offsets: the first byte still held and the next to come.
    The constructor reads back what an earlier process left in `folder` (which need not exist);
    `holes` tells what power loss took. Files are 0600, the folder 0700.

    `start` is the offset of the first byte when `folder` holds none: offsets are never reset.
    `keep_from`: bytes from this offset on are kept even over capacity (`on_full: block`).
    """

    __slots__ = (
        "_base",
        "_folder",
        "_index_fd",
        "_last",
        "_older",
        "_older_bytes",
        "_records",
        "_segment_bytes",
        "_segment_fd",
        "_stream",
        "_time_ns",
        "_turn_at",
        "_used",
        "capacity",
        "holes",
        "keep_from",
        "next",
        "oldest",
    )

    def __init__(self, folder: Path | str, capacity: int, start: int = 0) -> None:
        if capacity < MIN_CAPACITY_BYTES:
            message = f"capacity {capacity} is below {MIN_CAPACITY_BYTES} bytes"
            raise ValueError(message)
        self._folder = str(folder)
        self.capacity = capacity
        self._segment_bytes = segment_bytes(capacity)
        self._segment_fd = self._index_fd = -1
        self.keep_from = KEEP_NOTHING
        found = recover(self._folder)
        self._older = found.older
        self._older_bytes = sum(segment.bytes_on_disk for segment in found.older)
        self._base = found.base if found.size or found.older else max(found.base, start)
        self._used = found.size
        self._records = found.records
        self._last = found.last_offset
        self._time_ns = found.last_time_ns
        self._stream = found.last_stream
        self.holes: tuple[Hole, ...] = found.holes
        self.oldest = found.older[0].base if found.older else self._base
        self.next = self._base + found.size
        # Data bytes of the current segment at which something has to happen before the next
        # splice: roll over, drop the oldest, or (0) open the files.
        self._turn_at = 0

    @property
    def folder(self) -> str:
        """Where the segments lie."""
        return self._folder

    @property
    def bytes_on_disk(self) -> int:
        """Data and index of all segments."""
        return self._older_bytes + self._used + self._records * RECORD.size

    @property
    def segment_bytes(self) -> int:
        """Data bytes at which a segment is full."""
        return self._segment_bytes

    def take(self, source: int, stream: int, now_ns: int, max_bytes: int = CHUNK_BYTES) -> int:
        """Move at most `max_bytes` from the pipe `source` into the log; answer how many.

        0 is the end of the pipe. Raises BlockingIOError when the pipe is empty, and any other
        OSError when the disk refuses; the bytes are still in the pipe then.
        """
        if self._used >= self._turn_at:
            self._make_room()
        # A wall clock may go back: then the interval counts as over.
        if stream != self._stream or not 0 <= now_ns - self._time_ns < RECORD_INTERVAL_NS:
            self._record(stream, now_ns)
        used = self._used
        room = self._turn_at - used
        moved = _splice(
            source,
            self._segment_fd,
            min(room, max_bytes),
            offset_dst=used,
            flags=os.SPLICE_F_NONBLOCK,
        )
        self._used = used + moved
        self.next += moved
        return moved

    def trim(self) -> None:
        """Drop the oldest segments while the log is over its capacity and they may go."""
        while self.bytes_on_disk >= self.capacity and self._may_evict():
            self._evict()

    def close(self) -> None:
        """Give the descriptors back. A later `take` opens the files again."""
        self._turn_at = 0
        for fd in (self._segment_fd, self._index_fd):
            if fd >= 0:
                os.close(fd)
        self._segment_fd = self._index_fd = -1

    def _record(self, stream: int, now_ns: int) -> None:
        if self._last == self.next:  # rule W
            slot = self._records - 1
        else:
            if self._records >= self._segment_bytes // DATA_BYTES_PER_RECORD:
                self._roll()
            slot = self._records
        record = RECORD.pack(self.next, now_ns, stream, 0)
        if _pwrite(self._index_fd, record, slot * RECORD.size) != RECORD.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._folder)
        self._records = slot + 1
        self._last = self.next
        self._time_ns = now_ns
        self._stream = stream
        self._make_room()

    def _make_room(self) -> None:
        if self._segment_fd < 0:
            self._open(self._base)
        if self._used >= self._segment_bytes:
            self._roll()
        self.trim()
        room = self.capacity - self._older_bytes - self._records * RECORD.size
        evicts = room < self._segment_bytes and self._may_evict()
        self._turn_at = room if evicts else self._segment_bytes

    def _may_evict(self) -> bool:
        return bool(self._older) and self._older[0].end <= self.keep_from

    def _roll(self) -> None:
        """Begin the next segment. Its first bytes get a record: older ones will be unlinked."""
        done = Segment(self._base, self._used, self._records * RECORD.size)
        self._open(self.next)
        self._older.append(done)
        self._older_bytes += done.bytes_on_disk
        self._base = self.next
        self._used = self._records = self._stream = self._time_ns = 0
        self._last = -1

    def _open(self, base: int) -> None:
        """Open or create segment, then index; on failure the former pair stays in use."""
        if not self._older and not self._used:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        segment = os.open(
            f"{self._folder}/{segment_name(base)}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            index = os.open(
                f"{self._folder}/{index_name(base)}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError:
            os.close(segment)
            raise
        self.close()
        self._segment_fd, self._index_fd = segment, index

    def _evict(self) -> None:
        """Drop the oldest segment; `oldest` moves before the file goes, as readers look at it."""
        gone = self._older.pop(0)
        self._older_bytes -= gone.bytes_on_disk
        self.oldest = self._older[0].base if self._older else self._base
        for name in (segment_name(gone.base), index_name(gone.base)):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._folder}/{name}")

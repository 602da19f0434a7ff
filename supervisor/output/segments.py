"""Segment files of one output log: names, index records, and what a folder says after a crash.

Rules of the folder
1. A segment is named by the absolute offset of its first byte, 20 decimal digits. The file size
   is the truth about how many bytes it holds; nothing else is consulted.
2. Beside it lies its index, the same name with ``.i``: 32-byte records, offsets ascending, each
   saying which stream the bytes from its offset on belong to and when they were taken.
3. A record is written before the bytes that it describes. So the last record may describe no byte
   yet, and no byte is without a record.
4. A segment is created before its index and unlinked before it: an index alone is a leftover.

Recovery (`recover`) holds for a SIGKILL of the writer at any instant. Only power loss or a hand in
the folder can make a hole, a torn record or a record beyond the data; these are repaired too, and
holes are reported.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

MIN_SEGMENT_BYTES = 64 * 1024
MAX_SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENTS_PER_LOG = 8
MIN_CAPACITY_BYTES = 2 * MIN_SEGMENT_BYTES
"""Smallest capacity of a log: one full segment and the one being written."""

DATA_BYTES_PER_RECORD = 256
"""A segment is rolled over at ``segment_bytes / 256`` records: its index stays below 1/8 of it,
however small and interleaved the writes are."""

RECORD = struct.Struct("=QQQQ")
"""One index record: offset, time (ns since the epoch, wall clock), stream, zero. Native byte
order: a log never leaves its node."""

_NAME_DIGITS = 20
_INDEX_SUFFIX = ".i"


class Stream(IntEnum):
    """Which of the child's outputs a byte came from; a pty and combined stderr are STDOUT."""

    STDOUT = 1
    STDERR = 2


class Segment(NamedTuple):
    """One segment as found or left behind: absolute offset, bytes of data, bytes of index."""

    base: int
    size: int
    index_bytes: int

    @property
    def end(self) -> int:
        """Absolute offset behind its last byte."""
        return self.base + self.size

    @property
    def bytes_on_disk(self) -> int:
        """Data and index together."""
        return self.size + self.index_bytes


class Hole(NamedTuple):
    """Offsets ``from_ <= x < to`` that no segment holds. Power loss, or a hand in the folder."""

    from_: int
    to: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the folder of a log says: everything a writer needs to go on at the right byte.

    `last_offset` is -1 when the current segment has no record yet; `last_stream` is 0 then.
    """

    older: list[Segment]
    base: int
    size: int
    records: int
    last_offset: int
    last_time_ns: int
    last_stream: int
    holes: tuple[Hole, ...]


def segment_bytes(capacity: int) -> int:
    """Size of one segment of a log of `capacity` bytes."""
    return min(max(capacity // SEGMENTS_PER_LOG, MIN_SEGMENT_BYTES), MAX_SEGMENT_BYTES)


def segment_name(base: int) -> str:
    """File name of the segment whose first byte has the absolute offset `base`."""
    return f"{base:0{_NAME_DIGITS}d}"


def index_name(base: int) -> str:
    """File name of that segment's index."""
    return segment_name(base) + _INDEX_SUFFIX


def scan(folder: str) -> list[Segment]:
    """The segments in `folder`, oldest first; empty when there is no folder.

    A segment that vanishes while being looked at (the writer dropped it) is left out.
    """
    found: list[Segment] = []
    for name in _names(folder):
        if not _is_segment(name):
            continue
        path = f"{folder}/{name}"
        with suppress(FileNotFoundError):
            found.append(Segment(int(name), os.stat(path).st_size, _size(path + _INDEX_SUFFIX)))
    found.sort()
    return found


def recover(folder: str) -> Recovered:
    """Read the folder back after the writer ended in whatever way, and repair what needs it.

    The caller guarantees that no other process writes to it (the keeper saw the former daemon's
    socket end, and the lock of the state directory is ours). Creates nothing.
    """
    if not _names(folder):  # as for every new session
        return Recovered([], 0, 0, 0, -1, 0, 0, ())
    _remove_orphan_indexes(folder)
    segments = scan(folder)
    if not segments:
        return Recovered([], 0, 0, 0, -1, 0, 0, ())
    base, size, _ = segments[-1]
    records, last = _repair_index(f"{folder}/{index_name(base)}", base + size)
    return Recovered(segments[:-1], base, size, records, *last, find_holes(segments))


def find_holes(segments: list[Segment]) -> tuple[Hole, ...]:
    """Ranges missing between neighbours. An overlap is none."""
    return tuple(
        Hole(older.end, newer.base) for older, newer in pairwise(segments) if older.end < newer.base
    )


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _is_segment(name: str) -> bool:
    return len(name) == _NAME_DIGITS and name.isascii() and name.isdigit()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _remove_orphan_indexes(folder: str) -> None:
    names = set(_names(folder))
    for name in names:
        stem = name.removesuffix(_INDEX_SUFFIX)
        if stem != name and _is_segment(stem) and stem not in names:
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}/{name}")


def _repair_index(path: str, cursor: int) -> tuple[int, tuple[int, int, int]]:
    """Cut a torn record and records beyond `cursor`; answer how many are left, and the last."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, (-1, 0, 0)
    try:
        found = os.fstat(fd).st_size
        records = found // RECORD.size
        last = (-1, 0, 0)
        while records:
            raw = os.pread(fd, RECORD.size, (records - 1) * RECORD.size)
            offset, time_ns, stream, _ = RECORD.unpack(raw)
            if offset <= cursor:
                last = (offset, time_ns, stream)
                break
            records -= 1
        if found != records * RECORD.size:
            os.ftruncate(fd, records * RECORD.size)
        return records, last
    finally:
        os.close(fd)

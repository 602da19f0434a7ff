"""Crafted logs: pipes to take from, and folders as a crash or a hand left them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from supervisor.output.log import OutputLog
from supervisor.output.segments import RECORD, index_name, segment_name

OUT, ERR = 1, 2
MS = 1_000_000


class Written(OutputLog):
    """A log that is fed from memory, through a pipe as in life."""

    def put(self, stream: int, data: bytes, now_ns: int = MS) -> int:
        reading, writing = os.pipe()
        try:
            os.write(writing, data)
            moved = 0
            while moved < len(data):
                moved += self.take(reading, stream, now_ns)
            return moved
        finally:
            os.close(reading)
            os.close(writing)

    def put_nothing(self, stream: int, now_ns: int = MS) -> None:
        """Meet EAGAIN: the record is written, no byte moves."""
        reading, writing = os.pipe()
        try:
            self.take(reading, stream, now_ns)
        except BlockingIOError:
            return
        finally:
            os.close(reading)
            os.close(writing)
        raise AssertionError


@contextmanager
def log_in(folder: Path, capacity: int = 1 << 20) -> Iterator[Written]:
    log = Written(folder, capacity)
    try:
        yield log
    finally:
        log.close()


def lay(folder: Path, base: int, size: int, records: Sequence[tuple[int, int, int]] = ()) -> None:
    """A segment of `size` bytes with (offset, time, stream) records."""
    folder.mkdir(exist_ok=True)
    (folder / segment_name(base)).write_bytes(b"x" * size)
    raw = b"".join(RECORD.pack(*record, 0) for record in records)
    (folder / index_name(base)).write_bytes(raw)


def records_of(folder: Path, base: int = 0) -> list[tuple[int, int]]:
    """(offset, stream) of each record of a segment."""
    raw = (folder / index_name(base)).read_bytes()
    return [(offset, stream) for offset, _, stream, _ in RECORD.iter_unpack(raw)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

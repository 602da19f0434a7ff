"""The reading half of an output log: any number of readers beside the one writer.

Rules
1. Nobody reads at or above `next`. Its owner sets `next` and `oldest` from the pump's `Advanced`;
   whatever lies on disk above may still change (a record there is overwritten, see log.py).
2. Bytes below `next` never change, so they may be shared: `TailCache` keeps the chunks read last,
   and many clients on one flood cost one `pread` per chunk.
3. A segment may be unlinked at any moment. An open one stays readable; one that can no longer be
   opened is `OffsetGone`.
4. Times are wall clock and may go back: records are searched by offset, never bisected by time.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.output.errors import OffsetAhead, OffsetGone
from supervisor.output.segments import RECORD, Stream, index_name, scan, segment_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LogReader", "OffsetAhead", "OffsetGone", "Span", "Stream", "TailCache"]

CHUNK_BYTES = 64 * 1024
"""Reads end at multiples of it, so that clients which started anywhere soon share chunks. Larger
ones would be given back to the kernel by malloc each time (M_MMAP_THRESHOLD is 128 KiB)."""

_OPEN_SEGMENTS = 2  # one at the tail and one for somebody who catches up
_RECORD_WORDS = RECORD.size // 8


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive bytes of one stream that were taken at about one time.

    `offset` is absolute, `time_ns` wall clock nanoseconds since the epoch, exact to 50 ms.
    """

    offset: int
    stream: Stream
    data: bytes
    time_ns: int


class TailCache:
    """The chunks read last, of all logs together, at most `max_bytes`. One thread uses it."""

    __slots__ = ("_bytes", "_chunks", "_readers", "max_bytes")

    def __init__(self, max_bytes: int = 8 * 1024 * 1024) -> None:
        self.max_bytes = max_bytes
        self._bytes = 0
        self._readers = 0
        self._chunks: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()

    def enrol(self) -> int:
        """A number that no other reader ever had: neither `id()` nor a folder is that unique."""
        self._readers += 1
        return self._readers

    def get(self, key: tuple[int, int, int]) -> bytes | None:
        """The chunk stored under `key`, or None."""
        return self._chunks.get(key)

    def put(self, key: tuple[int, int, int], chunk: bytes) -> None:
        """Store a chunk; the ones stored first go when there are too many bytes."""
        self._chunks[key] = chunk
        self._bytes += len(chunk)
        while self._bytes > self.max_bytes:
            self._bytes -= len(self._chunks.popitem(last=False)[1])


class LogReader:
    """Reads one log by absolute offsets. For one thread; a live session has one shared reader.

    `oldest` and `next` are what may be read. They are found in `folder` (which need not exist:
    an empty log) and from then on set by the owner as the writer announces them. Without a
    `cache` each read goes to the page cache of the kernel.
    """

    __slots__ = ("_bases", "_cache", "_folder", "_number", "_open", "next", "oldest")

    def __init__(self, folder: Path | str, cache: TailCache | None = None) -> None:
        self._folder = str(folder)
        self._cache = cache
        self._number = cache.enrol() if cache is not None else 0
        self._open: list[_OpenSegment] = []
        found = scan(self._folder)
        self._bases = [segment.base for segment in found]
        self.oldest = found[0].base if found else 0
        self.next = found[-1].end if found else 0

    def spans(self, offset: int, max_bytes: int) -> list[Span]:
        """The bytes from `offset` on, at most `max_bytes`, cut at index records; [] at the end.

        Raises OffsetGone below `oldest` (or in a hole left by power loss) and OffsetAhead above
        `next`. Where a later part is gone, the spans before it are answered first.
        """
        self._check(offset)
        found: list[Span] = []
        at, end = offset, min(offset + max_bytes, self.next)
        while at < end:
            try:
                span = self._span(at, end)
            except OffsetGone:
                if found:
                    break
                raise
            found.append(span)
            at += len(span.data)
        return found

    def tail_offset(
        self, *, max_bytes: int | None = None, lines: int | None = None, from_offset: int = 0
    ) -> int:
        """Where to begin for the last `lines` lines and at most `max_bytes`, at a line start.

        Never below `from_offset` (the start of a generation). A last line without newline counts
        as a line. Where no line starts inside `max_bytes`, the bare offset is answered.
        """
        low = max(from_offset, self.oldest)
        if low >= self.next:
            return self.next
        start = low if max_bytes is None else max(low, self.next - max_bytes)
        if lines is not None:
            found = self._back(start, lines)
            if found is not None:
                return found
        return self._line_start(start, known=start in (0, from_offset))

    def offset_since(self, time_ns: int, from_offset: int = 0) -> int:
        """Offset of the first record taken at or after `time_ns`; `next` when there is none."""
        low = max(from_offset, self.oldest)
        found = scan(self._folder)
        self._bases = [segment.base for segment in found]
        for base, size, _ in found:
            segment = self._segment(base)
            if segment is None:
                continue
            segment.load(self.next)
            ends = [*segment.offsets[1:], base + size]
            for offset, time, end in zip(segment.offsets, segment.times, ends, strict=False):
                if time >= time_ns and end > low:
                    return min(max(offset, low), self.next)
        return self.next

    def close(self) -> None:
        """Give descriptors and parsed indexes back; a later read opens them again."""
        for segment in self._open:
            segment.close()
        self._open.clear()

    def _check(self, offset: int) -> None:
        if offset < self.oldest:
            raise OffsetGone(offset, self.oldest, self.next)
        if offset > self.next:
            raise OffsetAhead(offset, self.oldest, self.next)

    def _span(self, offset: int, end: int) -> Span:
        """One span at `offset`, not beyond `end`, the next record or the next chunk border."""
        segment = self._holding(offset)
        stream, time_ns, until = segment.record_at(offset, self.next)
        end = min(end, until, offset - offset % CHUNK_BYTES + CHUNK_BYTES)
        cache, key = self._cache, (self._number, offset, end)
        chunk = cache.get(key) if cache is not None else None
        if chunk is None:
            chunk = os.pread(segment.fd, end - offset, offset - segment.base)
            if not chunk:
                self._look_behind(segment.base, offset)
                return self._span(offset, end)
            if cache is not None:
                cache.put(key, chunk)
        return Span(offset, stream, chunk, time_ns)

    def _holding(self, offset: int) -> _OpenSegment:
        bases = self._bases
        at = bisect_right(bases, offset) - 1
        segment = self._segment(bases[at]) if at >= 0 else None
        if segment is not None:
            return segment
        bases = self._rescan(offset)
        segment = self._segment(bases[bisect_right(bases, offset) - 1])
        if segment is None:
            raise OffsetGone(offset, self.next, self.next)
        return segment

    def _look_behind(self, base: int, offset: int) -> None:
        """The segment at `base` ends before `offset`: learn which one the writer began there."""
        bases = self._rescan(offset)
        if bases[bisect_right(bases, offset) - 1] == base:  # a hole, or cut short by hand
            later = next((other for other in bases if other > offset), self.next)
            raise OffsetGone(offset, later, self.next)

    def _rescan(self, offset: int) -> list[int]:
        self._bases = bases = [segment.base for segment in scan(self._folder)]
        if not bases or bases[0] > offset:
            raise OffsetGone(offset, bases[0] if bases else self.next, self.next)
        return bases

    def _segment(self, base: int) -> _OpenSegment | None:
        """That segment, opened; None when it is no longer there."""
        for segment in self._open:
            if segment.base == base:
                return segment
        try:
            segment = _OpenSegment(self._folder, base)
        except FileNotFoundError:
            return None
        if len(self._open) >= _OPEN_SEGMENTS:
            # The lowest base: readers move forward, the tail stays.
            self._open.sort(key=lambda kept: kept.base)
            self._open.pop(0).close()
        self._open.append(segment)
        return segment

    def _chunks_back(self, low: int) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) pieces from `next` down to `low`, each within one chunk."""
        end = self.next
        while end > low:
            start = max(low, (end - 1) - (end - 1) % CHUNK_BYTES)
            try:
                chunk = b"".join(span.data for span in self.spans(start, end - start))
            except OffsetGone as gone:
                low = min(gone.oldest, end)
                continue
            if len(chunk) < end - start:  # a hole inside: only what is behind it is contiguous
                return
            yield start, chunk
            end = start

    def _back(self, low: int, lines: int) -> int | None:
        """Start of the `lines`-th line from the end, or None when `low` is reached before."""
        if lines <= 0:
            return self.next
        wanted = lines
        for start, chunk in self._chunks_back(low):
            stop = len(chunk)
            if start + stop == self.next and chunk.endswith(b"\n"):
                stop -= 1  # ends the last line, begins none
            while (at := chunk.rfind(b"\n", 0, stop)) >= 0:
                wanted -= 1
                if wanted == 0:
                    return start + at + 1
                stop = at
        return None

    def _line_start(self, start: int, *, known: bool) -> int:
        """`start` if a line begins there, else the first line start behind it, else `start`."""
        if known:
            return start
        at = start - 1 if start > self.oldest else start
        while at < self.next:
            try:
                spans = self.spans(at, CHUNK_BYTES)
            except OffsetGone as gone:
                return max(start, gone.oldest)
            for span in spans:
                found = span.data.find(b"\n")
                if found >= 0:
                    line = span.offset + found + 1
                    return line if line < self.next else start
                at = span.offset + len(span.data)
        return start


class _OpenSegment:
    """One segment's descriptors and its index as far as it was read: sorted offsets."""

    __slots__ = ("_index_fd", "base", "fd", "offsets", "streams", "times")

    def __init__(self, folder: str, base: int) -> None:
        self.base = base
        self.fd = os.open(f"{folder}/{segment_name(base)}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._index_fd = os.open(f"{folder}/{index_name(base)}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._index_fd = -1
        self.offsets = array("Q")
        self.times = array("Q")
        self.streams = array("Q")

    def record_at(self, offset: int, next_: int) -> tuple[Stream, int, int]:
        """Stream and time of the byte at `offset`, and the offset at which that ends."""
        offsets = self.offsets
        at = bisect_right(offsets, offset)
        if at == len(offsets):
            self.load(next_)
            offsets = self.offsets
            at = bisect_right(offsets, offset)
        until = offsets[at] if at < len(offsets) else next_
        if at == 0:  # bytes without a record: only power loss makes them
            return Stream.STDOUT, 0, until
        return Stream(self.streams[at - 1]), self.times[at - 1], until

    def load(self, next_: int) -> None:
        """Read the records that were added, but none at or above `next_`: those may change."""
        if self._index_fd < 0:
            return
        done = len(self.offsets) * RECORD.size
        grown = os.fstat(self._index_fd).st_size - done
        if grown < RECORD.size:
            return
        raw = os.pread(self._index_fd, grown, done)
        words = array("Q", raw[: len(raw) - len(raw) % RECORD.size])
        offsets = words[0::_RECORD_WORDS]
        settled = len(offsets)
        while settled and offsets[settled - 1] >= next_:
            settled -= 1
        self.offsets += offsets[:settled]
        self.times += words[1::_RECORD_WORDS][:settled]
        self.streams += words[2::_RECORD_WORDS][:settled]

    def close(self) -> None:
        """Close both files."""
        os.close(self.fd)
        if self._index_fd >= 0:
            os.close(self._index_fd)

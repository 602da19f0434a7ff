"""Bytes of one stream, each with its offset in the log that it shares with another stream.

Rules
- Bytes come in log order; between two of them any number of the other stream's may lie.
- A mark is kept for each break only, so that a long run costs nothing and output that changes
  its stream with every byte costs 16 bytes more for each.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

__all__ = ["StreamBytes"]


class StreamBytes:
    """A growing run of bytes. Positions count from the first byte that is still kept.

    `data` is the bytes themselves; callers read it and change it through the methods only.
    """

    __slots__ = ("_dropped", "_offsets", "_places", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._dropped = 0
        self._places = array("Q")  # of each break: its position, counted without what was dropped
        self._offsets = array("Q")  # and the offset of its first byte in the log

    def __len__(self) -> int:
        return len(self.data)

    def append(self, offset: int, chunk: bytes) -> None:
        """Add bytes that begin at `offset` of the log, which is not below what came before."""
        if not self._places or self._offset(self._dropped + len(self.data)) != offset:
            self._places.append(self._dropped + len(self.data))
            self._offsets.append(offset)
        self.data += chunk

    def drop(self, count: int) -> None:
        """Forget the first `count` bytes; at the front that is cheap for a bytearray."""
        del self.data[:count]
        self._dropped += count
        stale = bisect_right(self._places, self._dropped) - 1
        if stale > len(self._places) // 2:  # not each time: this moves all that stay
            del self._places[:stale]
            del self._offsets[:stale]

    def offset_at(self, position: int) -> int:
        """Return the log offset of a byte; at the end, the offset behind the last one."""
        if position == len(self.data) and position:
            return self._offset(self._dropped + position - 1) + 1
        return self._offset(self._dropped + position)

    def _offset(self, place: int) -> int:
        at = bisect_right(self._places, place) - 1
        return self._offsets[at] + place - self._places[at]

"""A session's input: one absolute offset over all generations, delivered exactly once.

Rules
- The journal is a memfd that keeper and daemon share. Offsets in it are the session's own: its
  size is what was accepted, its file position what the child's pipe or terminal has taken. What a
  former journal held stays a hole, so no base has to be remembered.
- Appending is one `pwrite`, done without giving up the event loop: it counts as a message to the
  session, without the mailbox.
- A journal over `RENEW_BYTES` that is all delivered is replaced, with its last `REPEAT_BYTES`
  copied, since punching it would corrupt bytes still in the pipe.
- Bytes below `next` are a repeat only if they are equal to the journal's.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from supervisor.errors import InputConflict, Refused, TooLarge

__all__ = ["LIMIT_BYTES", "RENEW_BYTES", "REPEAT_BYTES", "SessionInput"]

LIMIT_BYTES = 1024 * 1024
RENEW_BYTES = 1024 * 1024
REPEAT_BYTES = 256 * 1024


class SessionInput:
    """What one generation's child is given to read.

    `next`, `delivered`: absolute offsets. `limit`: undelivered bytes that are accepted at most.
    """

    __slots__ = ("_deliver", "_journal", "_start", "delivered", "limit", "next", "open", "renewing")

    def __init__(self, journal: int, deliver: Callable[[], None]) -> None:
        """`deliver` is called when there is something new in the journal."""
        self._deliver = deliver
        self.limit = LIMIT_BYTES
        self.open = True
        self.renewing = False
        self._take(journal)
        self.delivered = os.lseek(journal, 0, os.SEEK_CUR)

    @property
    def room(self) -> int:
        """Bytes that would be accepted now."""
        return 0 if self.renewing else self.limit - (self.next - self.delivered)

    @property
    def worn(self) -> bool:
        """Whether the journal should be replaced now."""
        return self.next - self._start > RENEW_BYTES and self.delivered == self.next

    def write(self, data: bytes, offset: int | None = None) -> int:
        """Accept all of `data` at `offset` (None: behind what is there); return `next`.

        Raises InputConflict when it is neither new nor a repeat, Refused when input was ended,
        TooLarge when it does not fit (`details["room"]`); nothing was accepted then.
        """
        if offset is not None:
            data = data[self._repeated(data, offset) :]
        if not data:
            return self.next
        if not self.open:
            raise Refused("input was ended: nothing more is accepted", next=self.next)
        if len(data) > self.room:
            message = f"{len(data)} bytes of input, but there is room for {self.room}: wait"
            raise TooLarge(message, limit="input", value=self.limit, room=self.room, next=self.next)
        os.pwrite(self._journal, data, self.next)
        self.next += len(data)
        self._deliver()
        return self.next

    def tail(self) -> bytes:
        """Return the bytes that a new journal has to begin with, the last ones accepted."""
        begin = max(self._start, self.next - REPEAT_BYTES)
        return os.pread(self._journal, self.next - begin, begin)

    def renew(self, journal: int) -> None:
        """Go on with an empty journal whose size and position are `next`."""
        tail = self.tail()
        if tail:
            os.pwrite(journal, tail, self.next - len(tail))
        self._take(journal)

    def _take(self, journal: int) -> None:
        self._journal = journal
        self.next = os.fstat(journal).st_size
        self._start = _first_byte(journal, self.next)

    def _repeated(self, data: bytes, offset: int) -> int:
        """Return how many bytes of `data` are a repeat."""
        if offset > self.next:
            message = f"input goes on at offset {self.next}, not at {offset}"
            raise InputConflict(message, next=self.next)
        count = min(self.next - offset, len(data))
        known = os.pread(self._journal, count, offset) if offset >= self._start else b""
        if known != data[:count]:
            message = f"input at offset {offset} was something else; go on at {self.next}"
            raise InputConflict(message, next=self.next)
        return count


def _first_byte(journal: int, size: int) -> int:
    """Return the offset of the first byte that is no hole.

    Asked on a descriptor of its own: SEEK_DATA moves the file position, which is the truth of
    what was delivered.
    """
    fd = os.open(f"/proc/self/fd/{journal}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError:
        return size
    finally:
        os.close(fd)

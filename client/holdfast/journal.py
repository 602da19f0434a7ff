"""Input that was written here and that the server has not confirmed: so that it arrives once.

Rules
- Each byte gets its absolute offset when it is first sent, and keeps it over all connections.
- A byte is let go only when the server says that all input below a later offset is safe.
- After a new connection everything unconfirmed that was sent before is sent again at its old
  offset, also what the server has by now: it compares, and refuses input that another client wrote
  there meanwhile. So much as it can compare, `COMPARED_BYTES`.
- Bytes never sent have no offset yet: when another client's input came first they go behind it.
"""

from __future__ import annotations

from holdfast.errors import ProtocolBroken
from holdfast.frames import INPUT_BYTES

__all__ = ["COMPARED_BYTES", "InputJournal"]

COMPARED_BYTES = 256 * 1024


class InputJournal:
    """Unconfirmed input. `base` is the offset of the first byte kept, None before any connection.

    `sent` and `ever_sent` are offsets: up to where this connection, and any, has carried it.
    """

    def __init__(self) -> None:
        self.base: int | None = None
        self.sent = 0
        self.ever_sent = 0
        self.limit = 0
        self._kept = bytearray()
        self._repeats_to = 0
        self._safe = 0
        self._abandoned = False

    def __len__(self) -> int:
        """The number of bytes that are not confirmed."""
        return len(self._kept)

    def write(self, content: bytes) -> None:
        """Append to the input."""
        self._kept += content

    def connected(self, next_: int) -> None:
        """A new connection says that input goes on at `next_`."""
        self.limit = self._safe = next_
        if self.base is None or self._abandoned:
            self.base = self.sent = self.ever_sent = next_
            return
        if next_ < self.base:
            raise ProtocolBroken(f"input up to {self.base} was safe; now it ends at {next_}")
        self._repeats_to = min(next_, self.ever_sent)
        self.sent = min(self._repeats_to, max(self.base, next_ - COMPARED_BYTES))
        self._let_go()

    def accepted(self, next_: int, limit: int) -> None:
        """The server says that input below `next_` is safe and that it takes it up to `limit`."""
        if self.base is None:
            raise ProtocolBroken("input was confirmed before this client attached")
        self.limit = max(self.limit, limit)
        self._safe = max(self._safe, next_)
        self._let_go()

    def next_frame(self) -> tuple[int, bytes] | None:
        """Return offset and bytes of the next frame to send; None when none may be sent now."""
        if self.base is None:
            return None
        repeating = self.sent < self._repeats_to
        end = self._repeats_to if repeating else min(self.limit, self.base + len(self._kept))
        size = min(end - self.sent, INPUT_BYTES)
        if size <= 0:
            return None
        offset, start = self.sent, self.sent - self.base
        self.sent += size
        self.ever_sent = max(self.ever_sent, self.sent)
        payload = bytes(self._kept[start : start + size])
        self._let_go()
        return offset, payload

    def settle(self) -> None:
        """There is no further connection: let go of all that the server has, compared or not."""
        self._repeats_to = 0
        self._let_go()

    def abandon(self) -> None:
        """Let go of everything that is not confirmed."""
        self._kept.clear()
        self._repeats_to = 0
        self._abandoned = True  # from here on the server's offset need not be this one's
        if self.base is not None:
            self.base = self.sent = self.ever_sent

    @property
    def all_sent(self) -> bool:
        """Whether this connection has carried every byte."""
        return self.base is not None and self.sent >= self.base + len(self._kept)

    def _let_go(self) -> None:
        base = self.base or 0
        if self.sent < self._repeats_to:
            return  # what is safe is still to be compared with what was meant
        done = min(self._safe, self.ever_sent) - base
        if done > 0:
            del self._kept[:done]
            self.base = base + done
        if self._safe > self.ever_sent:
            # Another client's input lies between: what was never sent goes behind it.
            self.base = self.ever_sent = self._safe
        self.sent = max(self.sent, self.base or 0)

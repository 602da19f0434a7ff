"""A session's input, written like an `asyncio.StreamWriter`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from holdfast.attachment import Attachment
from holdfast.errors import HoldfastError, InputLost

__all__ = ["DRAINED_BYTES", "Writer"]

DRAINED_BYTES = 256 * 1024


class Writer:
    """Writes to the child's stdin, exactly once through lost connections.

    `write` and `close` only note what to do; `drain` and `wait_closed` wait for the server.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._ended = False
        self._closing = False

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Append to the input.

        Raises `NotWriter` when another client writes, and what went wrong with earlier input.
        """
        if self._failure:
            raise self._failure
        if self._closing:
            raise HoldfastError("the input was closed")
        self._attachment.protocol.write(bytes(content))
        self._attachment.wake()

    def writelines(self, contents: Iterable[bytes]) -> None:
        """Append several pieces."""
        self.write(b"".join(contents))

    async def drain(self) -> None:
        """Wait until at most 256 KiB are not accepted by the server.

        What it accepted reaches the child whatever happens to this client or to the daemon. Raises
        `InputLost` when the session has ended, `NotWriter`, `Conflict`.
        """
        await self._until(DRAINED_BYTES)

    def close(self) -> None:
        """End the input behind what was written; the child reads end-of-file there."""
        self._closing = True
        self._attachment.protocol.end_input()
        self._attachment.wake()

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    async def wait_closed(self) -> None:
        """Wait until the server has all input and its end. Raises as `drain`."""
        await self._until(0)

    def progressed(self) -> None:
        """The attachment moved on: whoever waits here looks again."""
        self._changed.set()

    def fail(self, failure: BaseException) -> None:
        """No more input is possible; what was written and not accepted is given up."""
        self._failure = self._failure or failure
        self._attachment.protocol.abandon_input()
        self._changed.set()

    def end(self, failure: BaseException | None) -> None:
        """The attachment is over."""
        self._attachment.protocol.journal.settle()
        self._ended = True
        self._failure = self._failure or failure
        self._changed.set()

    async def _until(self, left: int) -> None:
        protocol = self._attachment.protocol
        while len(protocol.journal) > left or not (left or protocol.input_done):
            if self._failure:
                raise self._failure
            if self._ended:
                base = protocol.journal.base or 0
                if not len(protocol.journal):
                    return  # only the end of the input was not said, and nobody is there to hear it
                raise InputLost(base, base + len(protocol.journal))
            self._changed.clear()
            await self._changed.wait()
        if self._failure:
            raise self._failure

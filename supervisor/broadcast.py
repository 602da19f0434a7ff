"""Wake everyone who waits for a change; no payload and no queue.

A waiter checks its condition, awaits `wait`, and checks again. Nothing is missed, since neither
the check nor `notify` gives up the event loop in between.
"""

from __future__ import annotations

import asyncio

__all__ = ["Broadcast"]


class Broadcast:
    """A bell: `notify` wakes all that are in `wait` at that moment."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] | None = None

    def notify(self) -> None:
        """Wake all waiters; costs nothing when there are none."""
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Return after the next `notify`. Cancelling leaves nothing behind."""
        future = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = set()
        waiting = self._waiting
        waiting.add(future)
        try:
            await future
        finally:
            waiting.discard(future)

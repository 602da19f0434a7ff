"""Wake everyone who waits for a change; no payload and no queue.

A waiter checks its condition, awaits `wait`, and checks again. Nothing is missed, since neither
the check nor `notify` gives up the event loop in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

__all__ = ["Broadcast", "any_of"]


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
        await any_of([self])


async def any_of(bells: Collection[Broadcast]) -> None:
    """Return after the next `notify` of any of them; one future for all, no task for each."""
    future = asyncio.get_running_loop().create_future()
    joined = []
    for bell in bells:
        if bell._waiting is None:  # noqa: SLF001  (a function of this class's own module)
            bell._waiting = set()  # noqa: SLF001
        bell._waiting.add(future)  # noqa: SLF001
        joined.append(bell._waiting)  # noqa: SLF001
    try:
        await future
    finally:
        for waiting in joined:
            waiting.discard(future)

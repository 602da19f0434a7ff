"""The one writer: changes of many callers share a transaction, each caller awaits its own result.

Rules
- Changes are written in the order in which `put` was called; a group is a run of that order.
- When a group fails nothing of it is stored; its changes are then written one by one, so that one
  bad change fails alone.
- A caller that is cancelled while it waits takes nothing back: its change is written in its turn.
- The task lives only while something waits. Nothing is bounded here: every waiting change has a
  caller waiting with it, and callers are bounded by the limits of the API.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from store.codec import Row

__all__ = ["GROUP_ROWS", "GroupWriter"]

GROUP_ROWS = 256
"""Rows that one group holds at most, unless a single change has more."""


@dataclass(slots=True, eq=False)
class _Waiting:
    rows: Sequence[Row]
    stored: asyncio.Future[None]


class GroupWriter:
    """Collects changes while `write` is busy, and hands it everything collected at once.

    `write` stores the rows given whole or not at all, and raises StoreFailed then.
    """

    def __init__(self, write: Callable[[Sequence[Row]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def put(self, rows: Sequence[Row]) -> None:
        """Write one change; stored when this returns. Raises StoreFailed, storing nothing."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(rows, loop.create_future())
        self._waiting.append(waiting)
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="store-writer")
        await waiting.stored

    async def finish(self) -> None:
        """Return when everything put so far is written or refused."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _drain(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group = self._take()
                await self._write_group(group)
        finally:
            # Only a cancelled drain (the loop is closing) leaves someone waiting. Whether the last
            # group was stored is unknown then, and a cancelled commit promises neither.
            for each in (*group, *self._waiting):
                each.stored.cancel()
            self._waiting.clear()
            self._task = None

    def _take(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        count = len(group[0].rows)
        while self._waiting and count + len(self._waiting[0].rows) <= GROUP_ROWS:
            group.append(self._waiting.popleft())
            count += len(group[-1].rows)
        return group

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._write([row for each in group for row in each.rows])
        except Exception as error:  # noqa: BLE001  # Told to the callers, whatever it is.
            if len(group) > 1:
                for each in group:
                    await self._write_group([each])
            elif not group[0].stored.done():
                group[0].stored.set_exception(error)
            return
        for each in group:
            if not each.stored.done():
                each.stored.set_result(None)

"""What all sessions of one node share: clock, event feed, receipts, pump, keeper, log folders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from supervisor.broadcast import Broadcast
from supervisor.clock import Clock
from supervisor.commands import Receipts
from supervisor.errors import Refused
from supervisor.feed import EventFeed
from supervisor.keeper.client import KeeperClient
from supervisor.output.pump import Pump
from supervisor.output.reader import TailCache
from supervisor.output.space import Space
from supervisor.ports import Store
from supervisor.senses import Senses

__all__ = ["Node"]

KEEPER_SOON_S = 5.0


class Node:
    """The shared parts. `keeper` is None while a new keeper is being started.

    `keeper_came` is rung for each new keeper.
    """

    __slots__ = (
        "boot_id",
        "cache",
        "clock",
        "feed",
        "keeper",
        "keeper_came",
        "name",
        "pump",
        "receipts",
        "report",
        "senses",
        "sessions_dir",
        "space",
        "store",
    )

    def __init__(
        self,
        *,
        name: str,
        boot_id: str,
        clock: Clock,
        store: Store,
        sessions_dir: Path,
        report: Callable[[str, BaseException], None],
        senses: Senses,
    ) -> None:
        self.name = name
        self.boot_id = boot_id
        self.clock = clock
        self.store = store
        self.sessions_dir = sessions_dir
        self.report = report
        self.senses = senses
        self.feed = EventFeed(store, clock, name)
        self.receipts = Receipts(store)
        self.cache = TailCache()
        self.keeper: KeeperClient | None = None
        self.keeper_came = Broadcast()
        self.pump: Pump
        self.space: Space

    def need_keeper(self) -> KeeperClient:
        """Return the keeper. Raises Refused while a new one is being started."""
        if self.keeper is None:
            raise Refused("the keeper is being started again; try again in a moment")
        return self.keeper

    async def keeper_soon(self) -> None:
        """Wait for the keeper, but not for long: it is started again within a moment."""
        if self.keeper is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wait_for_keeper(), KEEPER_SOON_S)

    async def wait_for_keeper(self) -> KeeperClient:
        """Return the keeper as soon as there is one."""
        while self.keeper is None:
            await self.keeper_came.wait()
        return self.keeper

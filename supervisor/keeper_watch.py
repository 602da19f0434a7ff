"""The daemon's connection to its keeper: made at the start, and made again when a keeper dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from supervisor.keeper.client import KeeperClient, KeeperError, Respawn, start_keeper
from supervisor.node import Node
from supervisor.settings import SupervisorSettings

__all__ = ["KeeperWatch"]

_AGAIN_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)


class KeeperWatch:
    """Keeps `node.keeper` a living connection.

    `on_exited(session, generation, status)` tells of each leader's end; `on_lost()` that the
    keeper has died and that a new one is on its way.
    """

    def __init__(
        self,
        node: Node,
        run_dir: Path,
        settings: SupervisorSettings,
        respawn: Respawn | None,
        on_exited: Callable[[str, int, int], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._node = node
        self._run_dir = run_dir
        self._settings = settings
        self._respawn = respawn
        self._on_exited = on_exited
        self._on_lost = on_lost
        self._again: asyncio.Task[None] | None = None
        self.deaths = 0

    async def connect(self) -> KeeperClient:
        """Start a keeper if there is none, and connect. Raises KeeperError, TimeoutError."""
        await start_keeper(
            self._run_dir,
            containment=self._settings.containment,
            open_files=self._settings.open_files,
        )
        keeper = await KeeperClient.connect(
            self._run_dir / "keeper.sock",
            respawn=self._respawn,
            on_exited=self._on_exited,
            on_gone=self._gone,
        )
        self._node.keeper = keeper
        self._node.keeper_came.notify()
        return keeper

    async def bye(self, *, end: bool) -> None:
        """Leave on purpose: no respawn. With `end` the keeper ends too, holding nothing."""
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait([self._again])
        keeper, self._node.keeper = self._node.keeper, None
        if keeper is None:
            return
        try:
            await (keeper.end() if end else keeper.bye())
        except KeeperError as error:
            self._node.report("the keeper did not hear the farewell", error)
        keeper.close()

    def _gone(self) -> None:
        self._node.keeper = None
        self.deaths += 1
        self._on_lost()
        self._again = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])
            attempt += 1
            try:
                await self.connect()
            except (KeeperError, OSError, TimeoutError) as error:
                self._node.report("no new keeper could be started yet", error)
            else:
                return

"""Looking again and again at what nobody tells of: listening sockets, and a URL's answer.

Rules
- After 50 ms, then ever later, every 250 ms; only while somebody waits, and not after the end.
- It runs beside the wait: a server that hangs delays no other condition.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Final, Protocol

from supervisor.clock import Clock
from supervisor.listeners import Listening
from supervisor.senses import HttpAnswer, Senses

__all__ = ["Looked", "Polled", "Polling", "sleep"]

_Look = Callable[[], Awaitable[None]]

_FIRST_S: Final = 0.05
_GROWTH: Final = 1.25
_LAST_S: Final = 0.25


@dataclass(slots=True)
class Looked:
    """What was found last. `once`: whether everything that is asked for was looked at."""

    ports: Listening = field(default_factory=Listening)
    answers: dict[str, HttpAnswer] = field(default_factory=dict)
    once: bool = False
    failed: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raise what ended the looking, if anything did."""
        if self.failed is not None:
            self.failed.result()


class HasTree(Protocol):
    """Whose sockets are looked for."""

    def pids(self) -> list[int]:
        """Return the live processes of the tree."""


class Polled(Protocol):
    """A wait, as far as it is looked for here."""

    clock: Clock
    bell: asyncio.Event

    @property
    def session(self) -> HasTree:
        """Whose sockets count."""

    @property
    def over(self) -> bool:
        """Whether nothing can be found any more."""

    @property
    def ports(self) -> set[int | None]:
        """Which ports are asked for, None for any."""

    @property
    def urls(self) -> set[str]:
        """Which URLs are asked for."""


class Polling:
    """Fills `looked` while the block runs, and rings the wait's bell after each look."""

    def __init__(self, looked: Looked, wait: Polled, senses: Senses) -> None:
        self._looked = looked
        self._wait = wait
        self._senses = senses
        self._first = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        """Begin, if there is anything to look at."""
        if not self._wait.over:
            looks: list[_Look] = [partial(self._get, url) for url in self._wait.urls]
            if self._wait.ports:
                looks.append(self._listen)
            self._first = len(looks)
            self._tasks = [asyncio.get_running_loop().create_task(self._poll(one)) for one in looks]
            for task in self._tasks:
                task.add_done_callback(self._ended)
        self._looked.once = not self._first

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._looked.failed = task
            self._wait.bell.set()

    async def _poll(self, look: _Look) -> None:
        delay_s, quiet = _FIRST_S, asyncio.Event()
        await look()
        self._first -= 1
        self._looked.once = not self._first
        while not self._wait.over:
            self._wait.bell.set()
            await sleep(self._wait.clock, delay_s, quiet)
            quiet.clear()
            delay_s = min(delay_s * _GROWTH, _LAST_S)
            await look()
        self._wait.bell.set()

    async def _listen(self) -> None:
        """One look; of several ports each finds its own, and the last stranger is named."""
        pids, ports = self._wait.session.pids(), sorted(self._wait.ports, key=lambda one: one or 0)
        found = [await self._senses.listen(pids, port) for port in ports]
        strangers = [one.foreign for one in found if one.foreign is not None]
        own = tuple(listener for one in found for listener in one.own)
        self._looked.ports = Listening(own, strangers[-1] if strangers else None)

    async def _get(self, url: str) -> None:
        self._looked.answers[url] = await self._senses.get(url)


async def sleep(clock: Clock, delay_s: float, bell: asyncio.Event) -> None:
    """Sleep until the bell rings, at most so long; the timer rings it too."""
    timer = None if delay_s == math.inf else clock.call_later(max(0.0, delay_s), bell.set)
    try:
        await bell.wait()
    finally:
        if timer is not None:
            timer.cancel()

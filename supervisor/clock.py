"""Time as the supervisor sees it; tests put a virtual clock in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "SystemClock", "Timer"]


class Timer(Protocol):
    """A call that is due later; `cancel` may be called at any time, also after it ran."""

    def cancel(self) -> None:
        """Do not call, if it has not happened yet."""


class Clock(Protocol):
    """Where time comes from: seconds that only advance, and the wall clock."""

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC in seconds; comparable within one boot."""

    def wall_us(self) -> int:
        """Return the time in microseconds since the epoch, UTC."""

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once, on the event loop, `delay_s` seconds from now."""


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC in seconds."""
        return time.monotonic()

    def wall_us(self) -> int:
        """Return the time in microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once, on the running loop."""
        return asyncio.get_running_loop().call_later(delay_s, call)

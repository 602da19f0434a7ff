"""How long to wait before the next try, and when to give up.

A daemon that was killed is back within a second (its keeper starts it again), one whose start fails
after 1, 2, 4 ... seconds: tries come often at first, and never rarer than every two seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["PATIENCE_S", "Backoff"]

PATIENCE_S = 60.0
FIRST_S = 0.02
LONGEST_S = 2.0


@dataclass(slots=True)
class Backoff:
    """Delays that double, within `patience_s` seconds from the first failure on."""

    patience_s: float = PATIENCE_S
    clock: Callable[[], float] = time.monotonic
    _tries: int = 0
    _deadline: float | None = None

    def delay(self) -> float | None:
        """Return the seconds to wait before the next try, or None when patience is over."""
        now = self.clock()
        if self._deadline is None:
            self._deadline = now + self.patience_s
        left = self._deadline - now
        if left <= 0:
            return None
        longest: float = min(LONGEST_S, FIRST_S * 2.0**self._tries)
        self._tries = min(self._tries + 1, 16)
        # Jitter keeps a thousand clients of one daemon from coming back in the same instant.
        return min(left, longest * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)

    def reset(self) -> None:
        """Start over: the last try went well."""
        self._tries = 0
        self._deadline = None

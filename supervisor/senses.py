"""What a wait needs from outside the supervisor: a pattern library, /proc, the network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from supervisor.listeners import Listening
from supervisor.log_search import Search

__all__ = ["HttpAnswer", "Senses"]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What one GET came to: a status, or why there was none, in a few words."""

    status: int | None = None
    error: str | None = None

    def is_status(self, wanted: int | None) -> bool:
        """Whether it is the wanted status; without one, any that is neither an error nor 1xx."""
        if self.status is None:
            return False
        return 200 <= self.status < 400 if wanted is None else self.status == wanted  # noqa: PLR2004


class Senses(Protocol):
    """Implemented by the daemon. Nothing here blocks the event loop; all may be cancelled."""

    def compile(self, pattern: str) -> Search:
        """Return a search in linear time; the same one for the same pattern while it is in use.

        Raises ValueError with the reason for what is no pattern.
        """

    async def listen(self, pids: Collection[int], port: int | None) -> Listening:
        """Return the listeners of these processes, and a stranger on the port."""

    async def get(self, url: str) -> HttpAnswer:
        """Ask a URL once, within a few seconds; what may not be asked is an `error` too."""

"""How much room the logs of this node have, on the disk and by its own limit.

Rules
1. `reserve_bytes` of the file system stay free, so that the database can always commit.
2. All logs together, of live and of finished sessions, hold at most `node_bytes`. Both limits may
   be overrun by what moves between two looks, about 1 MiB.
3. The pump reports live logs, the owner the finished ones it finds at start and those it deletes.
   So two threads come here; one lock guards the sum.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.output.events import StallReason

_LOOK_EVERY_BYTES = 1024 * 1024
_LOOK_EVERY_S = 1.0
_FILLING = 15 / 16


class Space:
    """Room for output below `folder` (the state directory, which exists)."""

    def __init__(self, folder: Path | str, *, reserve_bytes: int, node_bytes: int) -> None:
        self._folder = str(folder)
        self.reserve_bytes = reserve_bytes
        self.node_bytes = node_bytes
        self._held: dict[str, int] = {}
        self._used = 0
        self._lock = threading.Lock()
        self._grown = 0
        self._look_at = 0.0
        self._refusal: StallReason | None = None

    @property
    def used_bytes(self) -> int:
        """Bytes of all logs, data and index."""
        return self._used

    @property
    def filling(self) -> bool:
        """Whether finished logs should be deleted before live ones have to stop."""
        return self._used >= self.node_bytes * _FILLING

    def hold(self, key: str, disk_bytes: int) -> None:
        """The log of session `key` takes up `disk_bytes` now."""
        with self._lock:
            delta = disk_bytes - self._held.get(key, 0)
            self._held[key] = disk_bytes
            self._used += delta
            if delta > 0:
                self._grown += delta

    def held(self, key: str) -> int:
        """Bytes of the log of session `key`, data and index, as last reported."""
        return self._held.get(key, 0)

    def forget(self, key: str) -> None:
        """The log of session `key` was deleted."""
        with self._lock:
            self._used -= self._held.pop(key, 0)
        self._look_at = 0.0

    def refusal(self) -> StallReason | None:
        """Why nothing more may be written now, or None. Cheap: it looks now and then."""
        now = time.monotonic()
        if self._grown < _LOOK_EVERY_BYTES and now < self._look_at:
            return self._refusal
        return self.look()

    def look(self) -> StallReason | None:
        """The same, looking now."""
        self._grown = 0
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        try:
            status = os.statvfs(self._folder)
        except OSError:  # the folder is gone or its disk is: no byte could be written either
            self._refusal = "disk"
            return self._refusal
        if status.f_bavail * status.f_frsize < self.reserve_bytes:
            self._refusal = "disk"
        else:
            self._refusal = "node_full" if self._used >= self.node_bytes else None
        return self._refusal

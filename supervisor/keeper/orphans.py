"""Orphans: what came to the keeper when a session's shim died.

Rules:
- The keeper is a subreaper above its shims, so the children of a dead shim become its own, and so
  do the children of those. Whoever is among its children and was not known before is new.
- One session without its shim owns all that is new. With several, the kernel's session ID tells
  them apart, then HOLDFAST_SESSION_ID in the environment; what has neither is nobody's and lives.
- Only direct children are killed: their pids cannot be used again before the keeper reaps them.
- The list of children is read once for a turn of reaping, never once for an orphan: a tree that
  forks without end would otherwise make zombies faster than they are reaped.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.keeper.tree import children_of, stat_fields

if TYPE_CHECKING:
    from supervisor.keeper.program import Keeper
    from supervisor.keeper.session import Session

_SID_FIELD = 3
"""Index of the session ID in `stat_fields`."""


class Orphans:
    """Attributes new children of the keeper to the session they came from."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.bereft: list[Session] = []
        """Sessions whose shim has died: held ones, and failed spawns until their orphans end."""

    def look(self) -> None:
        """Find new children; called when a shim dies and after each later turn of reaping."""
        known = self._keeper.children
        others = {self._keeper.respawner.pid, self._keeper.spawner.spare_pid}
        for pid in children_of(os.getpid()):
            if pid not in known and pid not in others:
                owner = known[pid] = self._owner(pid)
                if owner is not None:
                    owner.orphans.add(pid)
        for session in self.bereft:
            if session.killing:
                self.kill(session)
        self.bereft = [each for each in self.bereft if each.orphans or self._keeper.holds(each)]

    def kill(self, session: Session) -> None:
        """SIGKILL every orphan of the session, and from now on those that come."""
        session.killing = True
        for pid in session.orphans:
            with suppress(OSError):  # of another user, and we are not root
                os.kill(pid, signal.SIGKILL)

    def _owner(self, pid: int) -> Session | None:
        if len(self.bereft) == 1:
            return self.bereft[0]
        with suppress(OSError):
            sid = int(stat_fields(pid)[_SID_FIELD])
            with open(f"/proc/{pid}/environ", "rb") as file:
                environ = file.read().split(b"\0")
            for session in self.bereft:
                if sid == session.pid or f"HOLDFAST_SESSION_ID={session.id}".encode() in environ:
                    return session
        return None

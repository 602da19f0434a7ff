"""Orphans: what came to the keeper when a session's shim died.

Rules:
- The keeper is a subreaper above its shims, so the children of a dead shim become its own, and so
  do the children of those. Whoever is among its children and was not known before is new.
- One session without its shim owns all that is new. With several, the kernel's session ID tells
  them apart, then HOLDFAST_SESSION_ID in the environment; what has neither is nobody's and lives.
  A shim that has ended and is not reaped yet counts: its orphans are here already.
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
        others = {self._keeper.respawner.pid, self._keeper.spawner.spare_pid, *known}
        new = [pid for pid in children_of(os.getpid()) if pid not in others]
        owners = self._owners() if new else []  # found second: each was bereft before its orphan
        for pid in new:
            owner = known[pid] = _owner(pid, owners)
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

    def _owners(self) -> list[Session]:
        """Sessions whose shim has died, whether that was noticed or not."""
        keeper = self._keeper
        at_work = [
            (pid, each)
            for pid, each in keeper.children.items()
            if each is not None and each.shim_pid == pid and all(each is not b for b in self.bereft)
        ]
        dead = [each for pid, each in at_work if _is_zombie(pid)]
        return self.bereft + [each for each in dead if keeper.holds(each) or each.killing]


def _owner(pid: int, owners: list[Session]) -> Session | None:
    if len(owners) == 1:
        return owners[0]
    with suppress(OSError):
        sid = int(stat_fields(pid)[_SID_FIELD])
        for session in owners:
            if sid == session.pid:
                return session
        with open(f"/proc/{pid}/environ", "rb") as file:  # a zombie has none
            environ = file.read().split(b"\0")
        for session in owners:
            if f"HOLDFAST_SESSION_ID={session.id}".encode() in environ:
                return session
    return None


def _is_zombie(pid: int) -> bool:
    try:
        return stat_fields(pid)[0] in "ZX"
    except OSError:
        return False

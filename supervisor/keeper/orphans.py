"""Orphans: what came to the keeper when a session's shim died.

The keeper is a subreaper above its shims, so the children of a dead shim become its own. Which
session they belong to is seen at that moment: they are the children not known before. An orphan's
own children come the same way when it ends. Only direct children are killed: their pids cannot be
used again before the keeper reaps them.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.keeper.tree import children_of

if TYPE_CHECKING:
    from supervisor.keeper.program import Keeper
    from supervisor.keeper.session import Session


class Orphans:
    """Attributes new children of the keeper to the session they came from."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def come_from(self, session: Session | None) -> None:
        """A child of ours ended and is not reaped yet: its children are ours now.

        It was of `session`, or a stranger (what a respawned daemon left behind).
        """
        known = self._keeper.children
        others = {self._keeper.respawner.pid, self._keeper.spawner.spare_pid}
        for pid in children_of(os.getpid()):
            if pid not in known and pid not in others:
                known[pid] = session
                if session is not None:
                    session.orphans.add(pid)
        if session is not None and session.killing:
            self.kill(session)

    def kill(self, session: Session) -> None:
        """SIGKILL every orphan of the session, and from now on those that come."""
        session.killing = True
        for pid in session.orphans:
            with suppress(OSError):  # of another user, and we are not root
                os.kill(pid, signal.SIGKILL)

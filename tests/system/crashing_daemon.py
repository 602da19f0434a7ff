"""A daemon that SIGKILLs itself at a named step; otherwise the real one.

    crashing_daemon.py STEP WHEN COUNT [flags of holdfastd]

STEP: `commit` (a session's change is stored), `spawn`, `drop` (asked of the keeper), `signal`
(the tree is signalled), `tap` (the pump gets the descriptors). WHEN: `before` or `after`. COUNT:
the how-manieth time, from 1. A commit that only tells of the node itself does not count.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from api.daemon import main
from store import SqliteStore
from supervisor.child import Child
from supervisor.keeper.client import KeeperClient
from supervisor.output.pump import Pump


class Steps:
    """Counts one step and kills this process when it is due."""

    def __init__(self, step: str, when: str, count: int) -> None:
        self._wanted = (step, when)
        self._left = count

    def reach(self, step: str, when: str) -> None:
        """Die here, if this is where."""
        if (step, when) == self._wanted:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, name: str, step: str, counts: Callable[..., bool]) -> None:
        """Put both moments of the step around a method that is awaited."""
        original = getattr(owner, name)

        async def stepping(*args: Any, **kwargs: Any) -> Any:
            counted = counts(*args)
            if counted:
                self.reach(step, "before")
            result = await original(*args, **kwargs)
            if counted:
                self.reach(step, "after")
            return result

        setattr(owner, name, stepping)

    def around_call(self, owner: type, name: str, step: str) -> None:
        """The same for a method that is not awaited."""
        original = getattr(owner, name)

        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.reach(step, "before")
            result = original(*args, **kwargs)
            self.reach(step, "after")
            return result

        setattr(owner, name, stepping)


def install(steps: Steps) -> None:
    """Put the steps into the daemon's own classes."""

    def always(*_: Any) -> bool:
        return True

    steps.around(SqliteStore, "commit", "commit", lambda _, change: bool(change.sessions))
    steps.around(KeeperClient, "spawn", "spawn", always)
    steps.around(KeeperClient, "drop", "drop", always)
    steps.around_call(Child, "signal_tree", "signal")
    steps.around_call(Pump, "add", "tap")


if __name__ == "__main__":
    install(Steps(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    raise SystemExit(main(sys.argv[4:]))

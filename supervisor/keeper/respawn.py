"""Starting the daemon again: when, and how.

Nobody reads the children's pipes while there is no daemon, so a daemon whose connection ended
without `bye` is started again after 0, 1, 2, 4 ... 60 s. The count begins anew after 10 s of
connection; a connecting daemon cancels the wait.

A good-bye is meant for all: a daemon that was started here and has not got as far as to connect is
ended with it. Else it would find the lock free, and serve where somebody wanted no daemon.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.keeper import wire
from supervisor.keeper.limits import soft_nofile

if TYPE_CHECKING:
    from supervisor.keeper.wire import Message

LONGEST_WAIT_S = 60.0
STEADY_S = 10.0


def wait_s(attempt: int) -> float:
    """Seconds before the given attempt, counted from 0."""
    return min(2.0 ** min(attempt - 1, 10), LONGEST_WAIT_S) if attempt else 0.0


class Respawner:
    """Times are monotonic seconds, given by the caller."""

    def __init__(self, soft_nofile: int) -> None:
        """`soft_nofile` is the soft descriptor limit that a daemon is started with."""
        self._soft_nofile = soft_nofile
        self.due: float | None = None
        """When `start` is to be called; None while there is nothing to wait for."""
        self.pid: int | None = None
        """The daemon started by `start`, until it was reaped."""
        self._command: Message | None = None
        self._attempt = 0
        self._connected_at: float | None = None

    def connected(self, command: Message | None, now: float) -> None:
        """A daemon said hello and left `command` ({argv, env}), or None: never start it."""
        self._command = command
        self._connected_at = now
        self.due = None

    def said_bye(self, peer: int) -> None:
        """The end of this connection is meant. `peer` is the pid of the daemon that says so."""
        self._command = None
        if self.pid is not None and self.pid != peer:  # a child of ours, so the pid is its own
            os.kill(self.pid, signal.SIGTERM)

    def connection_ended(self, now: float) -> None:
        """The daemon is gone; plan its next start."""
        if self._connected_at is not None and now - self._connected_at >= STEADY_S:
            self._attempt = 0
        self._connected_at = None
        self._plan(now)

    def ended(self, now: float) -> None:
        """The started daemon ended. Without ever having connected: plan another start."""
        self.pid = None
        if self._connected_at is None and self.due is None:
            self._plan(now)

    def start(self, now: float) -> None:
        """Start the daemon with nothing but /dev/null on 0 to 2; a failure is tried again."""
        self.due = None
        if self._command is None:
            return
        argv = [wire.encode(word) for word in self._command["argv"]]
        env = {wire.encode(k): wire.encode(v) for k, v in self._command["env"].items()}
        with suppress(OSError, ValueError), soft_nofile(self._soft_nofile):
            self.pid = os.posix_spawn(
                argv[0],
                argv,
                env,
                setsid=True,
                setsigmask=(),
                setsigdef=signal.valid_signals(),
            )
            return
        self._plan(now)

    def _plan(self, now: float) -> None:
        if self._command is not None:
            self.due = now + wait_s(self._attempt)
            self._attempt += 1

"""A spare child, forked ahead and waiting in a cgroup of its own.

Joining a cgroup waits 7 to 10 ms for an RCU grace period when the machine was quiet, which is what
a single `hold run` meets. The spare does that waiting in advance; a spawn then only sends it the
plan. In a burst of spawns the join is short, and posix_spawn is faster than a second spare.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Never

from supervisor.keeper import child, wire
from supervisor.keeper.errors import SpawnFailed
from supervisor.keeper.forked import close_all_but, forget_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.keeper.cgroup import Cgroups
    from supervisor.keeper.wire import Message

_READY = b"ready"


class Spare:
    """The keeper's side of one spare. Used once, or closed."""

    def __init__(self, cgroups: Cgroups) -> None:
        """Fork it. Raises OSError."""
        self.cgroup = cgroups.make()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self.pid = os.fork()
            except OSError:
                self._sock.close()
                cgroups.remove(self.cgroup)
                raise
            if not self.pid:
                _wait(cgroups, self.cgroup, theirs)

    def ready(self) -> bool:
        """Whether it has joined its cgroup. Once true it must be used or closed."""
        try:
            return self._sock.recv(len(_READY), socket.MSG_DONTWAIT) == _READY
        except OSError:
            return False

    def use(self, plan: Message, stdio: Sequence[int]) -> int:
        """Make it the plan's program; its pid. Raises SpawnFailed, and then it is reaped."""
        try:
            wire.send(self._sock, plan, stdio)
            child.read_report(self._sock)
        except OSError as error:
            self.close()
            raise SpawnFailed(error.errno or 0, "process limit") from error
        except SpawnFailed:
            self.close()
            raise
        self._sock.close()
        return self.pid

    def close(self) -> None:
        """End it and reap it."""
        self._sock.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _wait(cgroups: Cgroups, path: str, sock: socket.socket) -> Never:
    """The life of a spare: join, say so, wait for the plan (or the keeper's end), become it."""
    try:
        forget_signals()
        cgroups.enter(path)
        close_all_but([sock.fileno()])
        sock.send(_READY)
        plan, stdio = wire.receive(sock)
        child.become(plan, stdio, sock.fileno())
    except (OSError, EOFError, ValueError):
        os._exit(127)  # the keeper sees the end of the socket
    finally:
        os._exit(127)

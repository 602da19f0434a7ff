"""One child as the keeper holds it, from spawn to drop."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.keeper.shims import ShimProcess
    from supervisor.keeper.wire import Message


@dataclass(slots=True)
class Session:
    """The child of one (session, generation)."""

    id: str
    generation: int
    pid: int
    """The leader. May belong to somebody else once `status` is known."""
    started_at_ns: int
    """Wall clock."""
    fds: dict[str, int]
    """By wire name; duplicates of these go to the daemon."""
    slave: int | None = None
    """Held until the leader was reaped, so that the master gives no EIO before."""
    cgroup: str | None = None
    shim: ShimProcess | None = None
    status: int | None = None
    """Wait status of the leader."""
    orphans: set[int] = field(default_factory=set)
    """Children that came to the keeper when the shim died."""
    killing: bool = False
    """Whether orphans are killed as they come."""

    @property
    def shim_pid(self) -> int | None:
        """Pid of its shim, which works for it at least until `drop`."""
        return self.shim.pid if self.shim else None

    def describe(self, containment: str) -> tuple[Message, list[int]]:
        """What the daemon is told, and the descriptors named in `fds`, in that order."""
        message: Message = {
            "session": self.id,
            "generation": self.generation,
            "pid": self.pid,
            "started_at_ns": self.started_at_ns,
            "status": self.status,
            "containment": {"kind": containment, "cgroup": self.cgroup, "shim_pid": self.shim_pid},
            "fds": list(self.fds),
        }
        return message, list(self.fds.values())

    def leader_ended(self, status: int) -> None:
        """Record the leader's end; the first report stands (shim and kernel say the same)."""
        if self.status is None:
            self.status = status
        self.close_slave()

    def close_slave(self) -> None:
        """Let the pty end."""
        if self.slave is not None:
            os.close(self.slave)
            self.slave = None

    def close(self) -> None:
        """Close every descriptor; processes are not touched."""
        self.close_slave()
        for name in list(self.fds):
            os.close(self.fds.pop(name))

"""What the daemon asks a keeper for, and what it gets: one child with all its descriptors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.keeper.containment import Containment


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """One child to start. Strings may hold any byte (surrogateescape of UTF-8)."""

    session: str
    generation: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment; PATH in it is what the program is looked up along."""
    cwd: str
    tty: bool = False
    rows: int = 24
    cols: int = 80
    stdin: str = "null"
    """`null` or `pipe`; a tty's input is always open."""
    stdout: str = "pipe"
    """`pipe` or `ignore`."""
    stderr: str = "pipe"
    """`pipe`, `ignore` or `combined`."""
    uid: int | None = None
    """Given together with `gid` and `groups`: the child gets these and no_new_privs."""
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    input_offset: int = 0
    """Size and position with which the input journal begins: offsets go on over generations."""


@dataclass(frozen=True, slots=True)
class Respawn:
    """How the keeper starts a daemon again; `argv[0]` is a path."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(slots=True)
class Held:
    """One child the keeper holds, with the daemon's own duplicates of its descriptors."""

    session: str
    generation: int
    pid: int
    started_at_ns: int
    """Wall clock."""
    pidfd: int
    """Readable once the leader has ended."""
    stdout: int | None
    """Read end, non-blocking; None when ignored and for a pty."""
    stderr: int | None
    """Read end, non-blocking; None when ignored or combined and for a pty."""
    stdin: int | None
    """Write end, non-blocking; None when null, closed, or a pty."""
    master: int | None
    """Of the pty, non-blocking."""
    relay: tuple[int, int] | None
    """Of a pty: the pipe (read, write) between master and file, since splice needs one."""
    input_relay: tuple[int, int] | None
    """Of a pty: the pipe (read, write) between journal and master."""
    journal: int | None
    """memfd of the input: size = accepted, file position (shared) = delivered."""
    containment: Containment
    status: int | None
    """Wait status of the leader, once known."""

    def close(self) -> None:
        """Close every descriptor of this side, once; the keeper's stay."""
        single = (self.stdout, self.stderr, self.stdin, self.master, self.journal)
        paired = (*(self.relay or ()), *(self.input_relay or ()))
        for fd in (self.pidfd, *single, *paired):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.pidfd = -1
        self.stdout = self.stderr = self.stdin = self.master = self.journal = None
        self.relay = self.input_relay = None
        self.containment.close()

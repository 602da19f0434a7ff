"""Listening TCP sockets, and which process holds them, as /proc tells.

Rules
- A socket belongs to a session when a process of its tree has it open: the inode in
  /proc/PID/net/tcp equals the one in a link of /proc/PID/fd (proc(5)). A port that answers proves
  nothing, since anybody may listen there.
- The daemon's own network namespace is asked by one dump (`sock_diag.py`); the tables of another
  are read through /proc/PID/net, so a tree in a namespace of its own is found too.
- A process that ends while being looked at has no sockets. What may not be read does not count.
- Everything here blocks for as long as /proc takes: call it on a thread.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from supervisor.sock_diag import Sockets, listening_sockets, tabled

__all__ = ["Listener", "Listening", "listening", "socket_descriptors"]

_SOCKET = "socket:["


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and a process that has it open; `pid` is 0 when nobody was found."""

    port: int
    address: str
    pid: int
    command: str = ""


@dataclass(frozen=True, slots=True)
class Listening:
    """What was found: the tree's own listeners by port, and a stranger on the port asked for."""

    own: tuple[Listener, ...] = ()
    foreign: Listener | None = None


def listening(pids: Collection[int], port: int | None = None, proc: str = "/proc") -> Listening:
    """Return the listeners of these processes; with `port` only those on it.

    A foreign owner is looked for only when `port` is given and no process of `pids` has it.
    """
    wanted = _sockets(pids, port, proc)
    if not wanted:
        return Listening()
    own = _owned(pids, wanted, proc)
    if own or port is None:
        return Listening(tuple(sorted(own, key=lambda one: (one.port, one.address))))
    return Listening((), _stranger(wanted, proc))


def _sockets(pids: Iterable[int], port: int | None, proc: str) -> Sockets:
    """Inode -> (address, port), from each network namespace of the tree."""
    spaces: dict[str, int] = {}
    for pid in pids:
        with suppress(OSError):
            spaces.setdefault(os.readlink(f"{proc}/{pid}/ns/net"), pid)
    own = os.readlink(f"{proc}/self/ns/net") if spaces else ""
    found: Sockets = {}
    for space, pid in spaces.items():
        table = listening_sockets() if space == own else tabled(f"{proc}/{pid}/net")
        found |= {n: (a, p) for n, (a, p) in table.items() if port in (None, p)}
    return found


def _owned(pids: Iterable[int], sockets: Sockets, proc: str) -> list[Listener]:
    found: dict[int, Listener] = {}
    for pid in pids:
        for _, inode in socket_descriptors(pid, proc):
            if inode in sockets and inode not in found:
                address, port = sockets[inode]
                found[inode] = Listener(port, address, pid)
    return list(found.values())


def socket_descriptors(pid: int, proc: str = "/proc") -> Iterator[tuple[str, int]]:
    """Yield descriptor and inode of each socket that a process has open; none when it is gone."""
    folder = f"{proc}/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                target = os.readlink(f"{folder}/{name}")
                if target.startswith(_SOCKET):
                    yield name, int(target[len(_SOCKET) : -1])


def _stranger(sockets: Sockets, proc: str) -> Listener:
    """Who else has one of these sockets open, among the processes that may be looked at."""
    with suppress(OSError):
        for name in os.listdir(proc):
            if name.isdigit():
                for owned in _owned([int(name)], sockets, proc):
                    return Listener(owned.port, owned.address, owned.pid, _command(name, proc))
    address, port = next(iter(sockets.values()))
    return Listener(port, address, 0)


def _command(pid: str, proc: str) -> str:
    """The name of a process (15 bytes at most); not its arguments, which may hold secrets."""
    with suppress(OSError):
        return Path(f"{proc}/{pid}/comm").read_text().strip()
    return ""

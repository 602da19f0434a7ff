"""Listening TCP sockets, and which process holds them, as /proc tells.

Rules
- A socket belongs to a session when a process of its tree has it open: the inode in
  /proc/PID/net/tcp equals the one in a link of /proc/PID/fd (proc(5)). A port that answers proves
  nothing, since anybody may listen there.
- Tables are read through /proc/PID/net, so a tree in a network namespace of its own is found too.
- A process that ends while being looked at has no sockets. What may not be read does not count.
- Everything here blocks for as long as /proc takes: call it on a thread.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Listener", "Listening", "listening", "parse_table"]

_LISTEN = "0A"
_SOCKET = "socket:["
_WORD_HEX_DIGITS = 8


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


def parse_table(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield inode, address and port of each listening socket of a /proc/net/tcp or tcp6 table."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _LISTEN:  # noqa: PLR2004  (inode is the tenth column)
            address, _, port = words[1].partition(":")
            yield int(words[9]), _address(address), int(port, 16)


def _address(text: str) -> str:
    """Decode an address: words of 32 bits, each in the byte order of the machine."""
    words = (text[at : at + _WORD_HEX_DIGITS] for at in range(0, len(text), _WORD_HEX_DIGITS))
    packed = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6  # noqa: PLR2004  (bytes)
    return socket.inet_ntop(family, packed)


def _sockets(pids: Iterable[int], port: int | None, proc: str) -> dict[int, tuple[str, int]]:
    """Inode -> (address, port), from one table for each network namespace of the tree."""
    spaces: dict[str, int] = {}
    for pid in pids:
        with suppress(OSError):
            spaces.setdefault(os.readlink(f"{proc}/{pid}/ns/net"), pid)
    found: dict[int, tuple[str, int]] = {}
    for pid in spaces.values():
        for table in ("tcp", "tcp6"):
            with suppress(OSError):
                text = Path(f"{proc}/{pid}/net/{table}").read_text()
                found |= {n: (a, p) for n, a, p in parse_table(text) if port in (None, p)}
    return found


def _owned(pids: Iterable[int], sockets: dict[int, tuple[str, int]], proc: str) -> list[Listener]:
    found: dict[int, Listener] = {}
    for pid in pids:
        for inode in _inodes(pid, proc):
            if inode in sockets and inode not in found:
                address, port = sockets[inode]
                found[inode] = Listener(port, address, pid)
    return list(found.values())


def _inodes(pid: int, proc: str) -> Iterator[int]:
    """Inodes of the sockets that a process has open."""
    folder = f"{proc}/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                target = os.readlink(f"{folder}/{name}")
                if target.startswith(_SOCKET):
                    yield int(target[len(_SOCKET) : -1])


def _stranger(sockets: dict[int, tuple[str, int]], proc: str) -> Listener:
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

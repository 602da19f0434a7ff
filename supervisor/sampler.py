"""Looks at the listening ports and the usage of many process trees at once.

Rules
- One dump gives all listening sockets. While it is what it was, and every known holder still has
  its socket open, nothing else is read: one link per port.
- Otherwise one pass over the members of all trees reads what each has open. It is done every
  `REFRESH_S` anyway, since a socket can change hands without a change in the dump.
- Usage needs the pass over the members too, so both are taken from the same one.
- Everything here blocks for as long as /proc takes: call it on a thread, one call at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from supervisor.keeper.containment import cgroup_pids
from supervisor.keeper.tree import descendants_of
from supervisor.listeners import socket_descriptors
from supervisor.open_ports import MOST_PORTS, Place
from supervisor.sock_diag import Sockets, listening_sockets
from supervisor.usage import Used, used_by

__all__ = ["REFRESH_S", "Look", "Root", "Sampler", "look_at", "members_of"]

REFRESH_S = 120.0

Root = str | int
"""Where a tree is found: the path of its cgroup, or the pid whose descendants its members are."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen. `ports` is None when nothing has changed, `cost_s` the CPU time it took."""

    ports: Mapping[str, Mapping[Place, int]] | None
    usage: Mapping[str, Used] = field(default_factory=dict)
    cost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Holder:
    """A process that has a listening socket open, and under which descriptor."""

    pid: int
    descriptor: str
    inode: int

    @property
    def holds(self) -> bool:
        try:
            link = os.readlink(f"/proc/{self.pid}/fd/{self.descriptor}")
        except OSError:
            return False
        return link == f"socket:[{self.inode}]"


_Held = dict[Place, _Holder]


class Sampler:
    """Remembers what it saw last, so that a look at what did not change costs next to nothing."""

    def __init__(self, dump: Callable[[], Sockets] = listening_sockets) -> None:
        self._dump = dump
        self._sockets: Sockets = {}
        self._held: dict[str, _Held] = {}
        self._refresh_at_s = 0.0

    def look(self, trees: Mapping[str, Root], *, usage: bool = False) -> Look:
        """Return what the trees, by the caller's keys, listen on, and with `usage` what they use.

        Raises OSError when the kernel tells nothing of sockets.
        """
        began_s = time.thread_time()
        sockets = self._dump()
        changed = self._changed(sockets, trees)
        used = self._pass(trees, sockets if changed else None, usage=usage)
        ports = self._ports() if changed else None
        return Look(ports, used, time.thread_time() - began_s)

    def _changed(self, sockets: Sockets, trees: Mapping[str, Root]) -> bool:
        if sockets != self._sockets or time.monotonic() >= self._refresh_at_s:
            return True
        gone = self._held.keys() - trees.keys()
        for key in gone:
            del self._held[key]
        return not all(one.holds for held in self._held.values() for one in held.values())

    def _pass(
        self, trees: Mapping[str, Root], sockets: Sockets | None, *, usage: bool
    ) -> dict[str, Used]:
        """Visit the members of all trees; None for `sockets`: what they have open is known."""
        used: dict[str, Used] = {}
        former = self._held
        if sockets is not None:
            self._sockets, self._held = sockets, {key: {} for key in trees}
            self._refresh_at_s = time.monotonic() + REFRESH_S
        if not usage and not sockets:
            return used
        for key, root in trees.items():
            pids = members_of(root)
            if sockets:
                self._held[key] = _held(pids, sockets, former.get(key, {}))
            if usage:
                used[key] = used_by(pids, root if isinstance(root, str) else None)
        return used

    def _ports(self) -> dict[str, dict[Place, int]]:
        return {key: _shown(held) for key, held in self._held.items()}


def look_at(root: Root) -> tuple[dict[Place, int], Used]:
    """Look at one tree, remembering nothing."""
    pids = members_of(root)
    ports: dict[Place, int] = {}
    with suppress(OSError):
        ports = _shown(_held(pids, listening_sockets(), {}))
    return ports, used_by(pids, root if isinstance(root, str) else None)


def members_of(root: Root) -> list[int]:
    """Return the members of a tree, dead ones that were not reaped too; empty when it is gone."""
    return cgroup_pids(root) if isinstance(root, str) else descendants_of(root)


def _held(pids: Iterable[int], sockets: Sockets, former: _Held) -> _Held:
    """Return who of a tree holds what; whoever held it before stays the one that is named."""
    found: _Held = {}
    for pid in pids:
        for descriptor, inode in socket_descriptors(pid):
            if inode in sockets:
                address, port = sockets[inode]
                place = port, address
                before = former.get(place)
                if place not in found or (before is not None and before.pid == pid):
                    found[place] = _Holder(pid, descriptor, inode)
    return dict(sorted(found.items())[:MOST_PORTS])


def _shown(held: _Held) -> dict[Place, int]:
    return {place: one.pid for place, one in held.items()}

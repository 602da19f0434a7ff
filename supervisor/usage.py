"""What a process tree uses: CPU time, memory, processes.

Rules
- In a cgroup the kernel has counted already: `cpu.stat` holds the time of ended processes as well,
  `memory.current` is there where the controller is. Else members are added up from /proc/PID/stat
  (proc(5)): their own time and that of children they reaped, resident memory.
- CPU time never goes back: what an ended process had used, and nobody in the tree reaped, stays.
- A process that ends while being looked at does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from supervisor.keeper.tree import stat_fields

__all__ = ["Usage", "Used", "counted", "used_by"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_US = 1_000_000

# Fields of /proc/PID/stat behind the name in brackets, counted from 0 (proc(5)).
_STATE = 0
_TIMES = slice(11, 15)
"""utime, stime, cutime, cstime."""
_RSS = 21
_DEAD = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Used:
    """One look at a tree: CPU seconds of what is there, resident bytes, living processes."""

    cpu_s: float
    memory_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What users see, and when it was looked at; `gone_s` is the part of what is there no more."""

    cpu_seconds: float
    memory_bytes: int
    processes: int
    at_us: int
    gone_s: float = 0.0


def counted(before: Usage | None, used: Used, at_us: int) -> Usage:
    """Return the usage after a look; a look older than `before` changes nothing."""
    if before is None:
        return Usage(used.cpu_s, used.memory_bytes, used.processes, at_us)
    if at_us < before.at_us:
        return before
    gone_s = before.gone_s + max(0.0, before.cpu_seconds - before.gone_s - used.cpu_s)
    return Usage(gone_s + used.cpu_s, used.memory_bytes, used.processes, at_us, gone_s)


def used_by(pids: Iterable[int], cgroup: str | None = None) -> Used:
    """Look at these processes, the members of `cgroup` if they have one. Blocks for /proc."""
    memory = _cgroup_memory(cgroup) if cgroup else None
    cpu_s = _cgroup_cpu_s(cgroup) if cgroup else None
    if memory is not None and cpu_s is not None:
        return Used(cpu_s, memory, len(list(pids)))
    ticks = pages = processes = 0
    for pid in pids:
        with suppress(OSError):
            fields = stat_fields(pid)
            ticks += sum(map(int, fields[_TIMES]))
            pages += int(fields[_RSS])
            processes += fields[_STATE] not in _DEAD
    return Used(
        ticks / _TICKS_PER_S if cpu_s is None else cpu_s,
        pages * _PAGE_BYTES if memory is None else memory,
        processes,
    )


def _cgroup_memory(folder: str) -> int | None:
    with suppress(OSError), open(f"{folder}/memory.current", "rb") as file:
        return int(file.read())
    return None


def _cgroup_cpu_s(folder: str) -> float | None:
    with suppress(OSError), open(f"{folder}/cpu.stat", "rb") as file:
        for line in file:
            if line.startswith(b"usage_usec "):
                return int(line.split()[1]) / _US
    return None

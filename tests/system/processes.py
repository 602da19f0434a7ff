"""What the kernel says about processes, and waiting until it says something else."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from tests.leaks import gone

PATIENCE_S = 30.0
LOOK_AGAIN_S = 0.01


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for what nothing announces: another process' descriptors, or what it reaped."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        select.select([], [], [], LOOK_AGAIN_S)


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third, `state`, on (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def lives(pid: int) -> bool:
    """Whether it runs: neither gone nor a zombie."""
    try:
        return stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


def all_gone(pids: list[int]) -> bool:
    """Wait until all have ended; whether that came."""
    return all(gone(pid) for pid in pids)


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used, in user and kernel mode."""
    utime, stime = stat_fields(pid)[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> list[str]:
    """What each open descriptor of a process leads to, sorted; numbers of sockets are left out."""
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        kind, _, number = target.partition(":[")
        targets.append(kind if number else target)
    return sorted(targets)


def children(pid: int) -> list[int]:
    """Pids of the direct children of a process of one thread."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> str:
    """Its command line, arguments joined by spaces; empty for a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def running_with(word: str) -> list[int]:
    """Pids of all processes whose command line contains a word."""
    pids = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if word in command_of(pid)]

"""Who descends from whom, as /proc tells it.

A list of pids is only a photograph: a pid may be signalled only by its parent (it cannot be used
again before the parent reaps it) or through a pidfd.
"""

from __future__ import annotations

import os

_PPID_FIELD = 1
"""Index of the parent's pid behind the command name in /proc/PID/stat (proc(5))."""


def children_of(pid: int) -> list[int]:
    """Pids of the direct children of `pid`, zombies too; empty when it is gone.

    Reads /proc/PID/task/TID/children; a kernel without CONFIG_PROC_CHILDREN has no such file, then
    all of /proc is searched for the parent.
    """
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except FileNotFoundError:
        return _children_by_search(pid) if os.path.exists(f"/proc/{pid}") else []
    except ProcessLookupError:
        return []
    return found


def descendants_of(pid: int) -> list[int]:
    """Pids of all descendants of `pid` without itself, each parent before its children."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = children_of(waiting.pop())
        found += children
        waiting += children
    return found


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command name: [0] is the state, [1] the parent.

    Raises OSError when the process is gone. The name is cut off at its last parenthesis, since it
    may itself hold parentheses and blanks.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _children_by_search(pid: int) -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if int(stat_fields(int(name))[_PPID_FIELD]) == pid:
                found.append(int(name))
        except OSError:
            continue  # it ended while we looked
    return found

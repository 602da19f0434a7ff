"""What a child inherits from its shim that the child itself can change in it.

A program reaches its parent by prlimit(2), setpriority(2), sched_setaffinity(2) and files in
/proc/PPID; the next session must not get that. Undoing it was rejected: a lowered hard limit or a
raised nice value takes privileges to undo.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})
_FILES = ("oom_score_adj", "coredump_filter", "cgroup")


def inherited() -> tuple[object, ...]:
    """All of it, to be compared with what it was."""
    return (
        [resource.getrlimit(each) for each in _LIMITS],
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        os.sched_getaffinity(0),
        [_read(f"/proc/self/{name}") for name in _FILES],
    )


def _read(path: str) -> bytes:
    with suppress(OSError), open(path, "rb", buffering=0) as file:
        return file.read(4096)
    return b""

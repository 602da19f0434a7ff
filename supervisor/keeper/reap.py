"""Reaping: look (WNOWAIT), record, and only then reap.

A process killed between looking and reaping leaves a zombie that goes to the next reaper with its
status; a process that reaps first and is killed before it records loses the status for good.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REAPS_PER_TURN = 64
"""A tree that forks without end makes zombies faster than they are reaped; others come between."""
_CORE_DUMPED = 0x80


def reap_some(record: Callable[[int, int], None]) -> bool:
    """Give (pid, wait status) of each ended child to `record`, then reap it. Never blocks.

    Whether there may be more: after REAPS_PER_TURN of them it stops, and no signal will come for
    those that had ended before.
    """
    for _ in range(REAPS_PER_TURN):
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if ended is None:
            return False
        record(ended.si_pid, _wait_status(ended.si_code, ended.si_status))
        os.waitpid(ended.si_pid, 0)
    return True


def has_children() -> bool:
    """Whether this process has any child, ended or not: ECHILD is the kernel's proof of none."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _wait_status(code: int, status: int) -> int:
    """The status as waitpid(2) would give it, from what waitid(2) says."""
    if code == os.CLD_EXITED:
        return status << 8
    return status | _CORE_DUMPED if code == os.CLD_DUMPED else status

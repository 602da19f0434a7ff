"""Reaping: look (WNOWAIT), record, and only then reap.

A process killed between looking and reaping leaves a zombie that goes to the next reaper with its
status; a process that reaps first and is killed before it records loses the status for good.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORE_DUMPED = 0x80


def reap_each() -> Iterator[tuple[int, int]]:
    """Yield (pid, wait status) of each ended child; it is reaped when the loop asks for the next.

    The caller records the status in the loop's body. Never blocks.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        yield ended.si_pid, _wait_status(ended.si_code, ended.si_status)
        os.waitpid(ended.si_pid, 0)


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

"""What is looked up in /proc for a single session: its usage and its listening ports.

Rules
- Only the answer for one session carries it: for a thousand it would take a second.
- It reads on a thread, and a process that ends meanwhile does not count.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from holdfast import wire
from supervisor.listeners import listening
from supervisor.session import Session

__all__ = ["live_fields", "usage_of"]

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# Fields of /proc/PID/stat behind the name in brackets, counted from 0 (proc(5)).
_UTIME: Final = 11
_STIME: Final = 12
_RSS: Final = 21


async def live_fields(session: Session) -> tuple[dict[str, Any], list[wire.PortView]]:
    """Return usage (`cpu_seconds`, `memory_bytes`, `processes`) and ports of a session's tree."""
    pids = session.pids()
    return await asyncio.to_thread(lambda: (usage_of(pids), _ports(pids)))


def usage_of(pids: Collection[int], proc: Path = Path("/proc")) -> dict[str, Any]:
    """Add up what the living processes use: CPU time, resident memory, their number."""
    ticks = pages = processes = 0
    for pid in pids:
        with suppress(OSError):
            words = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += int(words[_UTIME]) + int(words[_STIME])
            pages += int(words[_RSS])
            processes += 1
    return {
        "cpu_seconds": ticks / _TICKS_PER_S,
        "memory_bytes": pages * _PAGE_BYTES,
        "processes": processes,
    }


def _ports(pids: Collection[int]) -> list[wire.PortView]:
    return [
        wire.PortView(port=one.port, address=one.address, pid=one.pid)
        for one in listening(pids).own
    ]

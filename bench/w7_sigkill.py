"""W7: SIGKILL the daemon with 1000 live sessions, and wait until the next one lists them all.

The keeper starts the next daemon by itself. Time runs from its exec, which proc(5) tells in ticks
of 10 ms, and beside that from the SIGKILL. Floor: a process that only imports what the daemon does.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.daemon import Daemon, running
from bench.http import Connection, get
from bench.measure import Row, at_most, interleave

__all__ = ["rows"]

_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.002
_SESSIONS: Final = 1000


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W7."""
    del folder
    with running("auto") as daemon:
        daemon.start_many(_SESSIONS, command=["/bin/sleep", "infinity"])
        from_kill: list[float] = []
        seen = interleave(
            2 if quick else 5,
            {
                "import": _importing,
                "listed": lambda: [_killed(daemon, from_kill)],
            },
        )
    half = at_most(0.5, absolute=True)
    return [
        seen.row("W7", "SIGKILL, 1000 listed after exec", "listed", "import", "s", bound=half),
        # Only the first: after that the keeper waits longer each time before it starts the next.
        Row("W7", "the same, from the SIGKILL on", "s", ours=from_kill[0]),
    ]


def _importing() -> list[float]:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", "import api.compose"], check=True)
    return [time.perf_counter() - started]


def _killed(daemon: Daemon, from_kill: list[float]) -> float:
    """Kill the daemon; return the seconds from the next one's exec until it listed all."""
    pidfd = os.pidfd_open(daemon.pid)
    killed = time.clock_gettime(time.CLOCK_BOOTTIME)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)
    connection = _reconnect(daemon)
    listed = len(connection.json(get("/v1/sessions?limit=1000"))["items"])
    done = time.clock_gettime(time.CLOCK_BOOTTIME)
    if listed != _SESSIONS:
        raise RuntimeError(f"{listed} of {_SESSIONS} sessions are listed")
    daemon.pid = connection.json(get("/v1/node"))["pid"]
    connection.close()
    from_kill.append(done - killed)
    return done - _started_at(daemon.pid)


def _reconnect(daemon: Daemon) -> Connection:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            return daemon.connect()
        time.sleep(_LOOK_S)
    raise RuntimeError("no daemon came back")


def _started_at(pid: int) -> float:
    """Return when a process was started, in seconds of CLOCK_BOOTTIME (proc(5), starttime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")

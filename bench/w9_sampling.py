"""W9: what it costs to watch the ports and the usage of a thousand sessions.

Measured is the CPU time of the daemon, all its threads, as a share of a core: while no listener
comes or goes, while one does all the time, and while somebody asks for usage each second as well.
Floor: nothing is what it should cost; the target is 2 % of a core.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bench.daemon import Daemon, cpu_seconds, running
from bench.http import get
from bench.measure import Row, at_most

__all__ = ["rows"]

_CHILD: Final = ["/bin/sleep", "infinity"]
_COMING_AND_GOING: Final = (
    "import socket, time\n"
    "while True:\n"
    "    with socket.create_server(('127.0.0.1', 0)): time.sleep(0.7)\n"
    "    time.sleep(0.7)"
)
_ASKED_EVERY_S: Final = 1.0


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W9."""
    del folder
    count, seconds = 1000, 20.0 if quick else 60.0  # several looks, of 0.1 s each
    with running("auto") as daemon:
        daemon.start_many(count, command=_CHILD)
        time.sleep(2)  # until what their start left to do is done
        still = _percent(daemon, seconds / 4)
        daemon.start(command=["python3", "-S", "-c", _COMING_AND_GOING])
        ports = _percent(daemon, seconds / 2)
        _percent(daemon, 1.0, asks=True)  # the first is answered at once, whatever it costs
        usage = _percent(daemon, seconds, asks=True)
        kind = daemon.containment
    bound = at_most(2, absolute=True)
    return [
        Row("W9", f"{what}, {count} sessions, {kind}", "% core", ours=ours, bound=bound)
        for what, ours in (
            ("ports, none changes", still),
            ("ports, one comes and goes", ports),
            ("ports and usage, asked each second", usage),
        )
    ]


def _percent(daemon: Daemon, seconds: float, *, asks: bool = False) -> float:
    """Return the share of a core; `asks`: for the usage of all, in an answer of one session."""
    connection = daemon.connect()
    began, before = time.monotonic(), cpu_seconds([daemon.pid])
    while time.monotonic() - began < seconds:
        if asks:
            connection.json(get("/v1/sessions?usage=true&limit=1"))
        time.sleep(_ASKED_EVERY_S)
    spent_s = cpu_seconds([daemon.pid]) - before
    connection.close()
    return spent_s / (time.monotonic() - began) * 100

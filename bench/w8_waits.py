"""W8: a thousand waits for a line of one session that prints two hundred lines a second.

What is measured is the CPU time of the daemon for each second of wall clock, all its threads.
Floors: a daemon with the same session and one wait, and one with none.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.daemon import Daemon, cpu_seconds, running
from bench.http import Connection, post
from bench.measure import Block, Row, at_most, interleave

__all__ = ["rows"]

_WAITS = 1000
_PRINTING = (
    "import time\nwhile True:\n    print('still working', flush=True)\n    time.sleep(0.005)"
)
_MOST_S = 50.0  # the longest that a daemon holds an answer back


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W8."""
    del folder
    with running("auto") as quiet, running("auto") as single, running("auto") as crowded:
        _print_in(quiet)
        waiting = _wait_in(single, 1) + _wait_in(crowded, _WAITS)
        blocks: dict[str, Block] = {
            "none waits": lambda: [_cpu_ms(quiet)],
            "1 waits": lambda: [_cpu_ms(single)],
            "1000 wait": lambda: [_cpu_ms(crowded)],
        }
        seen = interleave(3 if quick else 10, blocks)
        for connection in waiting:
            connection.close()
    one, none = (f"1000 log waits against {few}, CPU a second" for few in ("one", "none"))
    return [
        seen.row("W8", one, "1000 wait", "1 waits", "ms", bound=at_most(1.5)),
        seen.row("W8", none, "1000 wait", "none waits", "ms"),
    ]


def _print_in(daemon: Daemon) -> str:
    return daemon.start(command=["python3", "-S", "-c", _PRINTING])


def _wait_in(daemon: Daemon, count: int) -> list[Connection]:
    """Begin the waits; no answer ever comes, since nothing that they wait for is printed."""
    session_id = _print_in(daemon)
    body = {"for": [{"log": "^listening on [0-9]+"}], "timeout": _MOST_S}
    connections = [daemon.connect() for _ in range(count)]
    for connection in connections:
        connection.sock.sendall(post(f"/v1/sessions/{session_id}/wait", body))
    _cpu_ms(daemon)  # until they have caught up
    return connections


def _cpu_ms(daemon: Daemon) -> float:
    before = cpu_seconds([daemon.pid])
    started = time.perf_counter()
    time.sleep(1)
    spent_s = cpu_seconds([daemon.pid]) - before
    return spent_s / (time.perf_counter() - started) * 1e3

"""W5: list 1000 sessions.

Server time is the CPU time that the daemon spends for one list, all its threads; beside it the time
a client waits for it. Floor of the latter: the same client's `GET /healthz`.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench import tmux
from bench.daemon import Daemon, cpu_seconds, running
from bench.http import Connection, get
from bench.measure import Block, Row, at_least, at_most, interleave

__all__ = ["rows"]

_LIST = get("/v1/sessions?limit=1000")
_ALIVE = get("/healthz")
_PEER_SESSIONS = 100


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W5."""
    del folder
    with running("auto") as daemon:
        daemon.start_many(1000, command=["/bin/sleep", "infinity"])
        connection = daemon.connect()
        listed = len(connection.json(_LIST)["items"])
        if listed != 1000:
            raise RuntimeError(f"{listed} of 1000 sessions are listed")
        blocks: dict[str, Block] = {
            "GET /healthz": lambda: _waits(connection, _ALIVE, 50),
            "list": lambda: _waits(connection, _LIST, 10),
            "server": lambda: [_server_ms(daemon, connection, 10)],
        }
        peer = tmux.start()
        if peer:
            _fill_tmux()
            blocks["tmux list-sessions"] = lambda: [_tmux_ms()]
        try:
            seen = interleave(3 if quick else 15, blocks)
        finally:
            if peer:
                tmux.kill()
    one = at_most(1.0, absolute=True)
    return [
        seen.row("W5", "list 1000, server's CPU", "server", "GET /healthz", "ms", bound=one),
        seen.row("W5", "list 1000, with the client", "list", "GET /healthz", "ms"),
        seen.row(
            "W5",
            f"tmux lists {_PEER_SESSIONS}, against our 1000",
            "tmux list-sessions",
            "list",
            "ms",
            bound=at_least(1.5),
            note="a tenth of the sessions, so a tenth of the target of 15x",
        )
        if peer
        else tmux.missing("W5", "tmux list-sessions"),
    ]


def _waits(connection: Connection, request: bytes, count: int) -> list[float]:
    samples = []
    for _ in range(count):
        started = time.perf_counter()
        connection.ask(request)
        samples.append((time.perf_counter() - started) * 1e3)
    return samples


def _server_ms(daemon: Daemon, connection: Connection, count: int) -> float:
    before = cpu_seconds([daemon.pid])
    for _ in range(count):
        connection.ask(_LIST)
    return (cpu_seconds([daemon.pid]) - before) / count * 1e3


def _fill_tmux() -> None:
    for _ in range(_PEER_SESSIONS - 1):
        tmux.command("new-session", "-d", "sleep infinity")


def _tmux_ms() -> float:
    started = time.perf_counter()
    tmux.command("list-sessions")
    return (time.perf_counter() - started) * 1e3

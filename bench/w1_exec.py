"""W1: run `true` through the daemon and wait for its exit status.

Floor: `os.posix_spawn` and `waitpid` in this small process, which records and contains nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import native, tmux
from bench.daemon import Daemon, modes, running
from bench.http import Connection, get, post, rate
from bench.measure import Bound, Row, at_least, at_most, interleave

__all__ = ["rows"]

_TRUE: Final = "/bin/true"
_PIPE: Final = post("/v1/machines/local/exec", {"command": [_TRUE]})
_PTY: Final = post("/v1/machines/local/exec", {"command": [_TRUE], "tty": True})
_ALIVE: Final = get("/healthz")
_APART_S: Final = 0.2
_HEAP_BYTES: Final = 1 << 30
_FLOOR: Final = "posix_spawn + wait"
_TIGHT: Final = {"cgroup": at_most(2.8), "shim": at_most(5.0)}
_RATES: Final = {"cgroup": at_least(0.65), "shim": at_least(0.35)}


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W1."""
    programs = native.build(folder)
    with ExitStack() as stack:
        daemons = {mode: stack.enter_context(running(mode)) for mode in modes()}
        skipped = Row("W1", "cgroup mode", note="skipped: no cgroup can be made here")
        return [
            *([] if "cgroup" in daemons else [skipped]),
            *_tight(daemons, programs["spawn"], rounds=3 if quick else 15),
            *_isolated(daemons, rounds=4 if quick else 12),
            *_rates(daemons, rounds=3 if quick else 9),
            *_big(rounds=3 if quick else 9),
        ]


def _tight(daemons: dict[str, Daemon], spawn: Path, rounds: int) -> list[Row]:
    """Back to back: what a loop of commands sees."""
    blocks: dict[str, Callable[[], Sequence[float]]] = {_FLOOR: lambda: _spawns(40)}
    blocks["C vfork + exec + wait"] = lambda: native.numbers(spawn, "40", _TRUE)
    for mode, daemon in daemons.items():
        connection = daemon.connect()
        blocks[f"{mode} pipe"] = _asking(connection, _PIPE, 40)
        blocks[f"{mode} pty"] = _asking(connection, _PTY, 40)
    peer = tmux.control()
    if peer:
        blocks["tmux"] = lambda: [peer.run(_TRUE) for _ in range(10)]
    try:
        seen = interleave(rounds, blocks)
    finally:
        if peer:
            peer.close()
    found = [seen.row("W1", "C vfork + exec + wait, tight", "C vfork + exec + wait", _FLOOR, "us")]
    for mode in daemons:
        pipe, pty = f"{mode} pipe", f"{mode} pty"
        found += [
            seen.row("W1", f"exec true, {mode}, tight", pipe, _FLOOR, "us", bound=_TIGHT[mode]),
            seen.row("W1", f"exec true, {mode}, tight, p99", pipe, _FLOOR, "us", q=0.99),
            seen.row("W1", f"pty against pipe, {mode}", pty, pipe, "us", bound=at_most(1.1)),
        ]
    if not peer:
        return [*found, tmux.missing("W1", "tmux -C new-window")]
    best = f"{next(iter(daemons))} pipe"
    return [*found, seen.row("W1", "against tmux -C", best, "tmux", "us", bound=at_most(1.0))]


def _isolated(daemons: dict[str, Daemon], rounds: int) -> list[Row]:
    """One command after a quiet moment: what a person sees."""
    blocks: dict[str, Callable[[], Sequence[float]]] = {_FLOOR: _after_quiet(lambda: _spawns(1))}
    for mode, daemon in daemons.items():
        blocks[mode] = _after_quiet(_asking(daemon.connect(), _PIPE, 1))
    seen = interleave(rounds, blocks)
    bounds: dict[str, Bound | None] = {"cgroup": at_most(3000, absolute=True), "shim": None}
    return [
        seen.row("W1", f"exec true, {mode}, 200 ms apart", mode, _FLOOR, "us", bound=bounds[mode])
        for mode in daemons
    ]


def _rates(daemons: dict[str, Daemon], rounds: int) -> list[Row]:
    blocks: dict[str, Callable[[], Sequence[float]]] = {_FLOOR: _spawn_rate}
    for mode, daemon in daemons.items():
        for clients in (8, 32):
            blocks[f"{mode} c{clients}"] = _rating(daemon, clients)
    seen = interleave(rounds, blocks)
    return [
        seen.row(
            "W1",
            f"exec true, {mode}, {clients} clients",
            f"{mode} c{clients}",
            _FLOOR,
            "/s",
            bound=_RATES[mode],
        )
        for mode in daemons
        for clients in (8, 32)
    ]


def _big(rounds: int) -> list[Row]:
    """Whether the size of a daemon, 1 GiB here, matters to its children.

    Both are new: a daemon that has run thousands of commands is busy forgetting them.
    """
    with running() as small, running(heap_bytes=_HEAP_BYTES) as big:
        connection = big.connect()
        seen = interleave(
            rounds,
            {
                "small daemon": _rating(small, 8),
                "1 GiB daemon": _rating(big, 8),
                "idle": _asking(connection, _ALIVE, 200),
                "spawning": lambda: _alive_while_spawning(big, connection),
            },
        )
    bound = at_least(0.9)
    return [
        seen.row("W1", "1 GiB daemon, c8", "1 GiB daemon", "small daemon", "/s", bound=bound),
        seen.row("W1", "GET /healthz, p99, while spawning", "spawning", "idle", "us", q=0.99),
    ]


def _spawns(count: int) -> list[float]:
    samples = []
    for _ in range(count):
        started = time.perf_counter()
        os.waitpid(os.posix_spawn(_TRUE, [_TRUE], os.environ), 0)
        samples.append((time.perf_counter() - started) * 1e6)
    return samples


def _spawn_rate() -> list[float]:
    started = time.perf_counter()
    _spawns(200)
    return [200 / (time.perf_counter() - started)]


def _asking(connection: Connection, request: bytes, count: int) -> Callable[[], list[float]]:
    def ask() -> list[float]:
        samples = []
        for _ in range(count):
            started = time.perf_counter()
            connection.ask(request)
            samples.append((time.perf_counter() - started) * 1e6)
        return samples

    return ask


def _after_quiet(block: Callable[[], list[float]]) -> Callable[[], list[float]]:
    def quiet_then() -> list[float]:
        time.sleep(_APART_S)
        return block()

    return quiet_then


def _rating(daemon: Daemon, clients: int) -> Callable[[], list[float]]:
    return lambda: [rate(daemon.socket, _PIPE, clients, 200)]


def _alive_while_spawning(daemon: Daemon, connection: Connection) -> list[float]:
    """How long `GET /healthz` takes while another client's spawn is under way.

    More than the time for which a spawn blocks the loop: it contains all else that goes on.
    """
    other = daemon.connect()
    samples = []
    for _ in range(100):
        other.sock.sendall(_PIPE)
        started = time.perf_counter()
        connection.ask(_ALIVE)
        samples.append((time.perf_counter() - started) * 1e6)
        other.receive()
    other.close()
    return samples

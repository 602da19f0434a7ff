"""W2: taking output, from a pipe and from a terminal.

Floor of the pipe: a C program that splices the same bytes into the same ring of segments on the
same file system. Floor of the terminal: a C program that reads it to nowhere. Time counts from the
request until the session has ended, or its client has read the end, the spawn included.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench import native, tmux
from bench.attach import Attached
from bench.daemon import Daemon, cpu_seconds, running
from bench.http import post
from bench.measure import Row, at_least, at_most, interleave

__all__ = ["rows"]

_MEBIBYTE: Final = 1 << 20
_READ: Final = "C read to nowhere"
_SPLICE: Final = "C splice into the same ring"
_PTY: Final = "C read of a pty"


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W2."""
    programs = native.build(folder)
    ring = folder / "ring-segments"
    ring.mkdir(exist_ok=True)
    rounds = 3 if quick else 9
    with running("auto") as daemon:
        return [
            *_pipe(daemon, programs["ring"], ring, rounds, 128 if quick else 512),
            *_terminal(daemon, programs["pty"], rounds, 16 if quick else 48),
            *_slow_lines(daemon, programs["pty"], 2 if quick else 5),
        ]


def _pipe(daemon: Daemon, program: Path, ring: Path, rounds: int, mebibytes: int) -> list[Row]:
    size = mebibytes * _MEBIBYTE
    child = ["/bin/dd", "if=/dev/zero", "bs=128K", f"count={size >> 17}", "status=none"]
    seen = interleave(
        rounds,
        {
            _SPLICE: lambda: native.numbers(program, "splice", str(ring), *child),
            _READ: lambda: native.numbers(program, "read", str(ring), *child),
            "nobody": lambda: [size / _run(daemon, child) / 1e6],
            "one client": lambda: [size / _run_watched(daemon, child, size) / 1e6],
        },
    )
    near, half = at_least(0.85), at_least(0.5)
    return [
        seen.row("W2", "pipe, read(2) as a ceiling", _READ, _SPLICE, "MB/s"),
        seen.row("W2", "pipe, nobody attached", "nobody", _SPLICE, "MB/s", bound=near),
        seen.row("W2", "pipe, one lossless client", "one client", _SPLICE, "MB/s", bound=half),
    ]


def _terminal(daemon: Daemon, program: Path, rounds: int, mebibytes: int) -> list[Row]:
    """Raw bytes through a terminal: speed against C, CPU against tmux."""
    count = mebibytes * 16
    script = f"stty raw -echo; exec dd if=/dev/zero bs=64K count={count} status=none"
    child = ["/bin/sh", "-c", script]
    size = mebibytes * _MEBIBYTE
    seen = interleave(
        rounds,
        {
            _PTY: lambda: native.numbers(program, *child)[:1],
            "pty": lambda: [size / _run(daemon, child, tty=True) / 1e6],
        },
    )
    bound = at_least(0.9)
    return [
        seen.row("W2", "pty, nobody attached", "pty", _PTY, "MB/s", bound=bound),
        *_cpu_against_tmux(daemon, script, "pty, CPU against tmux", min(rounds, 5), 0.65),
    ]


def _slow_lines(daemon: Daemon, program: Path, rounds: int) -> list[Row]:
    """Lines through a cooked terminal, where the kernel wakes a reader for a few bytes each."""
    script = "yes | head -c 4000000"
    child = ["/bin/sh", "-c", script]
    blocks: dict[str, Callable[[], Sequence[float]]] = {
        "C": lambda: native.numbers(program, *child)[1:],
        "ours": lambda: [_cpu_of(daemon, child)],
    }
    seen = interleave(rounds, blocks)
    return [
        seen.row("W2", "cooked `yes`, CPU against C", "ours", "C", "s", note="floor: C read"),
        *_cpu_against_tmux(daemon, script, "cooked `yes`, CPU against tmux", rounds, 0.3),
    ]


def _cpu_against_tmux(
    daemon: Daemon, script: str, what: str, rounds: int, limit: float
) -> list[Row]:
    if not tmux.start():
        return [tmux.missing("W2", what)]
    try:
        server = tmux.server_pid()
        seen = interleave(
            rounds,
            {
                "tmux": lambda: [_tmux_cpu(server, script)],
                "ours": lambda: [_cpu_of(daemon, ["/bin/sh", "-c", script])],
            },
        )
    finally:
        tmux.kill()
    return [seen.row("W2", what, "ours", "tmux", "s", bound=at_most(limit))]


def _tmux_cpu(server: int, script: str) -> float:
    before = cpu_seconds([server])
    waiting = f"({script}); tmux -L {tmux.SOCKET} wait-for -S ended"
    tmux.command("new-window", "-d", f"/bin/sh -c {shlex.quote(waiting)}")
    tmux.command("wait-for", "ended")
    return cpu_seconds([server]) - before


def _cpu_of(daemon: Daemon, child: list[str]) -> float:
    """Return the CPU seconds of daemon and keeper for one session on a terminal."""
    pids = [daemon.pid, daemon.keeper_pid]
    before = cpu_seconds(pids)
    _run(daemon, child, tty=True)
    return cpu_seconds(pids) - before


def _run(daemon: Daemon, child: list[str], **spec: Any) -> float:
    """Run a session to its end with nobody attached; return the seconds."""
    connection = daemon.connect()
    started = time.perf_counter()
    session = connection.json(post("/v1/sessions", {"command": child, **spec}))["session"]["id"]
    connection.ask(post(f"/v1/sessions/{session}/wait", {"for": ["ended"], "timeout": 50}))
    took = time.perf_counter() - started
    connection.close()
    return took


def _run_watched(daemon: Daemon, child: list[str], size: int) -> float:
    """Run a session with one client that reads every byte; return the seconds."""
    started = time.perf_counter()
    session = daemon.start(command=child, output={"on_full": "block"})
    client = Attached(daemon.socket, session, "offset=0&on_slow=block")
    client.until("eof")
    took = time.perf_counter() - started
    client.close()
    if client.next != size:
        raise RuntimeError(f"{client.next} bytes of {size} came")
    return took

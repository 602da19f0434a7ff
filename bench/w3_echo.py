"""W3: one keystroke to a raw terminal and its echo back, through an attached client.

Floor: the same child on a terminal of this process, written and read directly.
"""

from __future__ import annotations

import os
import pty
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import tmux
from bench.attach import Attached
from bench.daemon import running
from bench.measure import Row, at_most, interleave

__all__ = ["rows"]

_CHILD: Final = ["/bin/sh", "-c", "stty raw -echo; printf R; exec cat"]
"""Prints one byte once the terminal is raw."""
_KEYS: Final = 200


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W3."""
    del folder
    with running("auto") as daemon, _raw_terminal() as master:
        session = daemon.start(command=_CHILD, tty=True)
        client = Attached(daemon.socket, session)
        client.take_output()
        blocks: dict[str, Callable[[], Sequence[float]]] = {
            "raw pty": lambda: _echoes(master),
            "ours": lambda: _attached_echoes(client),
        }
        peer = tmux.attached(" ".join((*_CHILD[:2], f"'{_CHILD[2]}'")))
        if peer is not None:
            blocks["tmux attach"] = lambda: _echoes(peer)
        try:
            seen = interleave(3 if quick else 15, blocks)
        finally:
            client.close()
            if peer is not None:
                tmux.kill()
                os.close(peer)
    return [
        seen.row("W3", "echo, p50", "ours", "raw pty", "us", bound=at_most(4.5)),
        seen.row("W3", "echo, p99", "ours", "raw pty", "us", bound=at_most(4.0), q=0.99),
        tmux.missing("W3", "tmux attach")
        if peer is None
        else seen.row("W3", "echo against tmux attach", "ours", "tmux attach", "us"),
    ]


def _echoes(master: int) -> list[float]:
    samples = []
    for _ in range(_KEYS):
        started = time.perf_counter()
        os.write(master, b"k")
        while b"k" not in os.read(master, 4096):  # tmux moves the cursor, too
            pass
        samples.append((time.perf_counter() - started) * 1e6)
    return samples


def _attached_echoes(client: Attached) -> list[float]:
    samples = []
    for _ in range(_KEYS):
        started = time.perf_counter()
        client.type_byte(b"k")
        client.take_output()
        samples.append((time.perf_counter() - started) * 1e6)
    return samples


@contextmanager
def _raw_terminal() -> Iterator[int]:
    """Yield the master of a terminal on which the child echoes."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(_CHILD[0], _CHILD)  # noqa: S606  (no shell is implied; it is what is asked for)
    try:
        os.read(master, 1)
        yield master
    finally:
        os.close(master)  # hangs up: SIGHUP
        os.waitpid(pid, 0)

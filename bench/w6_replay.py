"""W6: attach to a session with 1 MiB of scrollback in lines of 7 bytes, and read all of it.

Floor: a process that answers one byte with as many, from memory, over a unix socket.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Final

from bench import tmux
from bench.attach import Attached
from bench.daemon import Daemon, running
from bench.http import post
from bench.measure import Block, Row, at_most, interleave

__all__ = ["rows"]

_BYTES: Final = 1 << 20
_SCRIPT: Final = f"yes 123456 | head -c {_BYTES}; exec sleep infinity"


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W6."""
    del folder
    theirs = _answering()
    with running("auto") as daemon:
        session = _filled(daemon)
        blocks: dict[str, Block] = {
            "first, bare": lambda: [_bare(theirs)[0]],
            "all, bare": lambda: [_bare(theirs)[1]],
            "first": lambda: [_replay(daemon, session)[0]],
            "all": lambda: [_replay(daemon, session)[1]],
        }
        peer = tmux.start("set-option", "-g", "history-limit", "200000", ";")
        if peer:
            tmux.command("new-session", "-d", "-s", "replay", f"{_SCRIPT}")
            blocks["tmux capture-pane"] = lambda: [_captured()]
        try:
            seen = interleave(10 if quick else 60, blocks)
        finally:
            theirs.close()
            if peer:
                tmux.kill()
    first, everything = at_most(1.5, absolute=True), at_most(3.0, absolute=True)
    third = at_most(1 / 3)
    return [
        seen.row("W6", "attach, first byte", "first", "first, bare", "ms", bound=first),
        seen.row("W6", "attach, all of 1 MiB", "all", "all, bare", "ms", bound=everything),
        seen.row("W6", "against tmux capture-pane", "all", "tmux capture-pane", "ms", bound=third)
        if peer
        else tmux.missing("W6", "tmux capture-pane"),
    ]


def _filled(daemon: Daemon) -> str:
    session = daemon.start(command=["/bin/sh", "-c", _SCRIPT])
    wait = {"for": [{"idle": 0.3}], "timeout": 30}
    daemon.connect().ask(post(f"/v1/sessions/{session}/wait", wait))
    return session


def _replay(daemon: Daemon, session: str) -> tuple[float, float]:
    """Attach and read; milliseconds to the first byte and to the last."""
    started = time.perf_counter()
    client = Attached(daemon.socket, session)
    client.take_output()
    first = time.perf_counter()
    client.until("live")
    last = time.perf_counter()
    client.close()
    if client.next != _BYTES:
        raise RuntimeError(f"{client.next} bytes came")
    return (first - started) * 1e3, (last - started) * 1e3


def _answering() -> socket.socket:
    """Fork a process that answers every byte with a mebibyte; it ends with this socket."""
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    content = b"123456\n" * (_BYTES // 7 + 1)
    while theirs.recv(1):
        theirs.sendall(content[:_BYTES])
    os._exit(0)


def _bare(theirs: socket.socket) -> tuple[float, float]:
    started = time.perf_counter()
    theirs.sendall(b"?")
    missing = _BYTES - len(theirs.recv(_BYTES))
    first = time.perf_counter()
    while missing:
        missing -= len(theirs.recv(_BYTES))
    return (first - started) * 1e3, (time.perf_counter() - started) * 1e3


def _captured() -> float:
    started = time.perf_counter()
    tmux.command("capture-pane", "-p", "-t", "replay", "-S", "-")
    return (time.perf_counter() - started) * 1e3

"""W4: what an idle session costs: memory and CPU of daemon and keeper.

Counted are the daemon, the keeper, its spare and its shims, what they share in parts (PSS); not the
child, which would be there anyhow. No floor: nothing is what an idle session should cost.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bench import tmux
from bench.daemon import Daemon, cpu_seconds, keepers, modes, pss_bytes, running
from bench.measure import Row, at_most

__all__ = ["rows"]

_CHILD: Final = ["/bin/sleep", "infinity"]


def rows(folder: Path, *, quick: bool) -> list[Row]:
    """Return the figures of W4."""
    del folder
    shims = 50 if quick else 200
    with running("shim") as daemon:
        shim = _kib_each(daemon, shims, tty=False)
    bound = at_most(1024, absolute=True)
    return [
        *(_in_cgroups(200 if quick else 1000, 3 if quick else 10) if "cgroup" in modes() else []),
        Row("W4", f"memory each of {shims}, pipes, shim", "KiB", ours=shim, bound=bound),
        _tmux(100 if quick else 300),
    ]


def _in_cgroups(count: int, seconds: float) -> list[Row]:
    with running("cgroup") as daemon:
        pipes = _kib_each(daemon, count, tty=False)
        percent = _percent_of_a_core(daemon, seconds)
    with running("cgroup") as daemon:
        terminals = _kib_each(daemon, count, tty=True)
    memory, cpu = at_most(8, absolute=True), at_most(0.3, absolute=True)
    return [
        Row("W4", f"memory each of {count}, pipes, cgroup", "KiB", ours=pipes, bound=memory),
        Row("W4", f"memory each of {count}, pty, cgroup", "KiB", ours=terminals, bound=memory),
        Row("W4", f"CPU of {count} idle sessions", "% core", ours=percent, bound=cpu),
    ]


def _kib_each(daemon: Daemon, count: int, *, tty: bool) -> float:
    # Some first: what is loaded and allocated only once belongs to no session.
    daemon.start_many(32, command=_CHILD, tty=tty)
    before = _settled(daemon)
    daemon.start_many(count, command=_CHILD, tty=tty)
    return (_settled(daemon) - before) / count / 1024


def _settled(daemon: Daemon) -> int:
    """Return the memory once it no longer changes by more than a page each second."""
    last = 0
    while abs((now := pss_bytes([daemon.pid, *keepers(daemon.keeper_pid)])) - last) > 64 * 1024:
        last = now
        time.sleep(0.5)
    return now


def _percent_of_a_core(daemon: Daemon, seconds: float) -> float:
    pids = [daemon.pid, daemon.keeper_pid]
    before = cpu_seconds(pids)
    time.sleep(seconds)
    return (cpu_seconds(pids) - before) / seconds * 100


def _tmux(count: int) -> Row:
    what = f"tmux, memory each of {count}"
    if not tmux.start():
        return tmux.missing("W4", what)
    try:
        server = tmux.server_pid()
        before = pss_bytes([server])
        for _ in range(count):
            tmux.command("new-window", "-d", *_CHILD)
        return Row(
            "W4", what, "KiB", floor=(pss_bytes([server]) - before) / count / 1024, note="a peer"
        )
    finally:
        tmux.kill()

"""A real daemon in a temporary state directory, ended with its keeper and its sessions.

Rules
- The state directory lies in /var/tmp, on a real file system: /tmp may be memory.
- The containment is that of a keeper started beforehand, which the daemon then finds.
- At the end the sessions are killed through the API, and keeper and daemon are waited for by
  pidfd; what has not ended by then is killed by its pid.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bench.http import Connection, get, post
from supervisor.keeper.launch import start_keeper
from supervisor.keeper.lock import holder

__all__ = ["Daemon", "cpu_seconds", "keepers", "modes", "pss_bytes", "running", "scratch"]

PATIENCE_S: Final = 60.0
_PACKAGES = Path(__file__).resolve().parent.parent


class Daemon:
    """One state directory and the daemon that serves it."""

    def __init__(self, state_dir: Path, process: subprocess.Popen[bytes]) -> None:
        self.socket = state_dir / "run" / "holdfast.sock"
        self.process = process
        node = self.connect().json(get("/v1/node"))
        self.pid: int = node["pid"]
        self.keeper_pid: int = node["keeper"]["pid"]
        self.containment: str = node["containment"]

    def connect(self) -> Connection:
        """Return a new connection; closed with the process at the latest."""
        return Connection(self.socket)

    def start(self, **spec: Any) -> str:
        """Start a session from the fields of `POST /v1/sessions`; return its ID."""
        connection = self.connect()
        try:
            answer: str = connection.json(post("/v1/sessions", spec))["session"]["id"]
            return answer
        finally:
            connection.close()

    def start_many(self, count: int, **spec: Any) -> None:
        """Start `count` equal sessions, sixteen at a time."""
        connections = [self.connect() for _ in range(16)]
        request = post("/v1/sessions", spec)
        for first in range(0, count, len(connections)):
            some = connections[: count - first]
            for each in some:
                each.sock.sendall(request)
            for each in some:
                each.receive()
        for each in connections:
            each.close()

    def end(self) -> None:
        """Kill all sessions, then end daemon and keeper."""
        waiting = [os.pidfd_open(pid) for pid in (self.pid, self.keeper_pid)]
        with suppress(OSError, RuntimeError):
            self.connect().ask(post("/v1/node/shutdown?kill_sessions=true"))
        for pidfd in waiting:
            if not select.select([pidfd], [], [], PATIENCE_S)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        self.process.wait()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder on a real file system, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(containment: str = "auto", heap_bytes: int = 0) -> Iterator[Daemon]:
    """Yield a daemon that answers; `heap_bytes` of memory are touched before it begins.

    `containment` is `cgroup`, `shim` or `auto`. Raises KeeperGone where it cannot be had.
    """
    with scratch() as folder:
        state_dir = folder / "s"
        (state_dir / "run").mkdir(parents=True, mode=0o700)
        asyncio.run(start_keeper(state_dir / "run", containment=containment))
        try:
            daemon = Daemon(state_dir, _launch(state_dir, heap_bytes))
        except BaseException:  # an interrupt too; it goes on to the caller
            _end_keeper(state_dir)
            raise
        try:
            yield daemon
        finally:
            daemon.end()


def _end_keeper(state_dir: Path) -> None:
    """Kill a keeper whose daemon did not come up; it holds no session yet."""
    keeper = holder(str(state_dir / "run" / "keeper.lock"))
    for pid in [] if keeper is None else keepers(keeper):
        os.kill(pid, signal.SIGKILL)


def modes() -> list[str]:
    """Return the containments that can be had here, the better one first."""
    with running("auto") as daemon:
        return ["cgroup", "shim"] if daemon.containment == "cgroup" else ["shim"]


def _launch(state_dir: Path, heap_bytes: int) -> subprocess.Popen[bytes]:
    """Start the daemon and wait for the line that says it answers."""
    module = ["bench.big_daemon", str(heap_bytes)] if heap_bytes else ["api"]
    ready, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", *module, "--state-dir", str(state_dir), "--ready-fd", str(theirs)],
        cwd=_PACKAGES,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "XDG_CONFIG_HOME": str(state_dir),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs],
        start_new_session=True,
    )
    os.close(theirs)
    with os.fdopen(ready, "rb") as told:
        if not told.readline():
            process.wait()
            log = state_dir / "daemon.log"
            raise RuntimeError(f"no daemon: {log.read_text() if log.exists() else ''}")
    return process


def keepers(keeper_pid: int) -> list[int]:
    """Return the keeper and what it forked of itself: a spare, and the shims.

    They share memory, so that only the sum of all of them says what a session costs.
    """
    name = Path(f"/proc/{keeper_pid}/cmdline").read_bytes()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == name:
                found.append(int(entry.name))
    return found


def pss_bytes(pids: list[int]) -> int:
    """Return the memory of processes, what they share counted in parts (proc(5), smaps_rollup)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time that all threads of the processes have had (proc(5), schedstat)."""
    spent = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError):
                spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9

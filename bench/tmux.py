"""tmux as a peer, on a server of its own."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from typing import Final

from bench.measure import Row

__all__ = [
    "SOCKET",
    "Control",
    "attached",
    "command",
    "control",
    "kill",
    "missing",
    "server_pid",
    "start",
]

SOCKET: Final = f"holdfast-bench-{os.getpid()}"


def missing(workload: str, what: str) -> Row:
    """Return the row that says why a figure is not there."""
    return Row(workload, what, note="skipped: tmux is not installed")


def command(*arguments: str) -> str:
    """Run a tmux command against our own server; return what it prints."""
    argv = ["tmux", "-L", SOCKET, "-f", "/dev/null", *arguments]
    ran = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return ran.stdout


def start(*options: str) -> bool:
    """Start a server with one idle session; false where there is no tmux."""
    if not shutil.which("tmux"):
        return False
    command(*options, "new-session", "-d", "-x", "80", "-y", "24", "sleep infinity")
    return True


def server_pid() -> int:
    """Return the server's pid."""
    return int(command("display-message", "-p", "#{pid}"))


def kill() -> None:
    """End the server."""
    command("kill-server")


class Control:
    """A client in control mode, which costs no process per command."""

    def __init__(self) -> None:
        start()
        self._client = subprocess.Popen(
            ["tmux", "-L", SOCKET, "-f", "/dev/null", "-C", "attach"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, program: str) -> float:
        """Run a program in a new window; return the microseconds until its end was told."""
        assert self._client.stdin  # noqa: S101  (for the type checker)
        assert self._client.stdout  # noqa: S101  (the same)
        started = time.perf_counter()
        self._client.stdin.write(f"new-window -d {program}\n".encode())
        self._client.stdin.flush()
        while b"window-close" not in self._client.stdout.readline():
            pass
        return (time.perf_counter() - started) * 1e6

    def close(self) -> None:
        """End client and server."""
        kill()
        self._client.communicate()


def control() -> Control | None:
    """Return a client in control mode; None where there is no tmux."""
    return Control() if shutil.which("tmux") else None


def attached(command_line: str) -> int | None:
    """Attach a client on a new terminal to a session that runs a command, and let it settle.

    Returns the terminal's master; None where there is no tmux. The status line is off, so that
    what comes back is the echo.
    """
    if not start():
        return None
    command("set-option", "-g", "status", "off")
    command("new-session", "-d", "-s", "echo", "-x", "80", "-y", "24", command_line)
    pid, master = pty.fork()
    if pid == 0:
        argv = ["tmux", "-L", SOCKET, "attach", "-t", "echo"]
        os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm"})  # noqa: S606  (no shell)
    while select.select([master], [], [], 0.5)[0]:
        os.read(master, 65536)
    return master

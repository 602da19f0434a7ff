"""Starts the daemon that the first command needs.

Rules
- A hundred commands at once start one daemon: whoever holds the lock file starts it, the others
  wait for the lock and then find it running. The daemon's own lock settles every other race.
- The daemon and its keeper outlive the caller: they get a clean environment, cwd `/`, none of the
  caller's descriptors, a session of their own without a terminal, another parent (double fork),
  and a scope of their own where a systemd user manager answers. A CI job that ends with killing
  everything that carries its marker in the environment takes no session of another job along.
- What was started serves or has ended before this returns: a straggler that found the lock held
  only after a later `hold shutdown` would bring the daemon back against the caller's will.
- It is ready when its socket answers. Its pidfd says that it has ended instead, and the last lines
  of its log why. (A pipe kept open by it would be one of the caller's descriptors.)
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, NoReturn

from holdfast.cli.failure import Failure
from holdfast.errors import NotReachable
from holdfast.places import absolute, state_dir

if TYPE_CHECKING:
    from holdfast.address import Address

__all__ = ["daemon_command", "daemon_environment", "scope", "start_daemon"]

READY_S = 30.0
OTHER_S = 5.0
UCRED = struct.Struct("3i")  # pid, uid, gid
LOOK_AGAIN_S = 0.02
LOG_TAIL_LINES = 8
INSTALL_LINE = "pip install 'holdfast[server]'"

KEPT = ("HOME", "USER", "LOGNAME", "PATH", "LANG")
SECTIONS = ("NODE", "LISTEN", "STATE", "OUTPUT", "LIMITS", "EXEC")
SHORT_SETTINGS = ("HOLDFAST_CONFIG", "HOLDFAST_RUNTIME_DIR")
PATHS = (*SHORT_SETTINGS, "HOLDFAST_STATE_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME")


def daemon_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment the daemon and its keeper start with.

    HOME, USER, LOGNAME, PATH, LANG, XDG_* and the server's settings; what a client reads
    (HOLDFAST_URL, _TOKEN, _TOKEN_FILE, and _SESSION_ID and _NODE of a session) stays behind. Places
    are made absolute, since the daemon runs in `/`.
    """
    kept = {name: value for name, value in environ.items() if _is_kept(name)}
    return kept | {name: str(absolute(kept[name])) for name in PATHS if kept.get(name)}


def _is_kept(name: str) -> bool:
    if name in KEPT or name in SHORT_SETTINGS or name.startswith("XDG_"):
        return True
    return any(name.startswith(f"HOLDFAST_{section}_") for section in SECTIONS)


def daemon_command() -> list[str]:
    """The command line that starts the daemon; raises `Failure` when the server is missing."""
    beside = Path(sys.executable).with_name("holdfastd")
    if beside.exists():
        return [str(beside)]
    from importlib.util import find_spec

    if find_spec("api") is None or find_spec("supervisor") is None:
        raise Failure(f"the server is not installed here; install it: {INSTALL_LINE}")
    return [sys.executable, "-m", "api"]


def start_daemon(address: Address) -> None:
    """Make a daemon answer at the address's socket: start one, or wait for who is starting it.

    Raises `NotReachable` with the last lines of its log when none comes up in `READY_S` seconds.
    """
    path, state = str(address.socket), state_dir()
    with _only_one(state):
        if _server(path) is not None:
            return
        log = state / "daemon.log"
        seen = log.stat().st_size if log.exists() else 0
        pid, pidfd = _spawn([*scope(os.environ), *daemon_command(), "--autostarted"], log)
        try:
            ready = _wait_ready(path, pid, pidfd)
        finally:
            if pidfd is not None:
                os.close(pidfd)
    if not ready:
        raise NotReachable(f"the daemon did not start: {_tail(log, seen)}")


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Hold the lock of those who start a daemon; the kernel lets go of it when they die."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "autostart.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        text = f"the state directory {state} cannot be used: {error.strerror}"
        raise NotReachable(text) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _server(path: str) -> int | None:
    """The pid of the process that listens at a unix socket (unix(7), SO_PEERCRED); None: nobody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
        pid: int = UCRED.unpack(credentials)[0]
        return pid


def _wait_ready(path: str, started: int, pidfd: int | None) -> bool:
    """Wait until the socket answers; `pidfd` is that of what was started, None: it ended.

    What finds a daemon at work ends with 0 at once, and that daemon (its keeper has just started it
    again, perhaps) has yet to listen: so after ours ended, there are a few seconds for the other.
    """
    deadline = time.monotonic() + READY_S
    while (left := deadline - time.monotonic()) > 0:
        server = _server(path)
        if server is not None and (pidfd is None or server == started):
            return True
        if pidfd is None:
            time.sleep(LOOK_AGAIN_S)
        elif select.select([pidfd], [], [], LOOK_AGAIN_S)[0]:
            pidfd = None
            deadline = time.monotonic() + min(left, OTHER_S)
    return _server(path) is not None


def scope(environ: Mapping[str, str]) -> list[str]:
    """What to put before the command so that it gets a scope of its own, where that works."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    found = which("systemd-run")
    if runtime is None or found is None or _server(f"{runtime}/systemd/private") is None:
        return []
    return [found, "--user", "--scope", "--quiet", "--collect", "--"]


def _spawn(argv: list[str], log: Path) -> tuple[int, int | None]:
    """Start a detached process; its pid and pidfd, None when it has ended already."""
    environment = daemon_environment(os.environ)  # relative places count from here, not from `/`
    said, says = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            _become_daemon(argv, environment, log, says)
        os.waitpid(child, 0)
        pid = int(os.read(said, 32) or 0)
        try:
            return pid, os.pidfd_open(pid) if pid else None
        except ProcessLookupError:
            return pid, None
    finally:
        os.close(said)
        os.close(says)


def _become_daemon(argv: list[str], environment: dict[str, str], log: Path, says: int) -> NoReturn:
    """In the child: leave a grandchild that has nothing of the caller's, and say its pid."""
    try:
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(says, b"%d" % pid)
            os._exit(0)
        os.chdir("/")
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with suppress(OSError, ValueError):  # the C library's own two
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        os.dup2(2, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.execve(argv[0], argv, environment)  # noqa: S606  (no shell is the point)
    finally:
        os._exit(127)  # only when something above failed: no code of the caller may run on here


def _tail(log: Path, seen: int) -> str:
    """The last lines that were written to the log from offset `seen` on, in one."""
    try:
        with log.open("rb") as file:
            file.seek(seen)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"{log} cannot be read: {error.strerror}"
    tail = " | ".join(line.strip() for line in lines[-LOG_TAIL_LINES:] if line.strip())
    return tail or f"it wrote nothing to {log}"

"""The state directory: one daemon at a time, and nobody else looks in."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from supervisor.errors import StartRefused

__all__ = ["StateDir", "boot_id"]

_EIGHT_GIB = 8 << 30
_SHARE = 5


def boot_id() -> str:
    """Return the kernel's name for this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class StateDir:
    """The folders below the state directory, 0700, and the lock that says they are ours.

    `sessions` holds the logs, `run` the sockets. The lock is a flock: it ends with the process,
    however that ends, and the descriptor is close-on-exec, so no child inherits it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = path / "sessions"
        self.run = path / "run"
        self._lock = -1

    def lock(self) -> None:
        """Make the folders and take the lock.

        Raises StartRefused; `details["locked"]` is true when another daemon holds it.
        """
        try:
            for folder in (self.path, self.sessions, self.run):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock = os.open(self.path / "lock", flags, 0o600)
        except OSError as error:
            message = f"cannot use the state directory {self.path}: {error.strerror}"
            raise StartRefused(f"{message}; choose another with --state-dir") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            self.unlock()
            message = f"another daemon (pid {holder or 'unknown'}) serves {self.path}"
            raise StartRefused(message, locked=True, pid=holder) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def unlock(self) -> None:
        """Let another daemon in. May be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def node_bytes(self) -> int:
        """Return the default bound of all logs: 8 GiB, or a fifth of the file system if less."""
        status = os.statvfs(self.path)
        return min(_EIGHT_GIB, status.f_blocks * status.f_frsize // _SHARE)

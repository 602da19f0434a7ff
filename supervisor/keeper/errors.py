"""Errors of the keeper package.

KeeperError
├── SpawnFailed   the child was never executed: errno and stage
└── KeeperGone    the connection to the keeper ended; what was asked may or may not be done
"""

from __future__ import annotations

import os


class KeeperError(Exception):
    """Base of all errors of this package."""


class SpawnFailed(KeeperError):
    """The child was never executed.

    `errno` is the kernel's; `stage` is one of `cwd`, `pty`, `cgroup`, `fds`, `user`, `exec`,
    `process limit`; `message` is one sentence for a person.
    """

    def __init__(self, errno: int, stage: str, message: str = "") -> None:
        self.errno = errno
        self.stage = stage
        self.message = message or f"{stage}: {os.strerror(errno)}"
        super().__init__(self.message)


class KeeperGone(KeeperError):
    """The connection to the keeper ended or could not be made."""

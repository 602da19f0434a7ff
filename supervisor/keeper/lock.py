"""The keeper's lock: proof for others that it lives, taken for its whole life.

A record lock (fcntl), not flock: it is not inherited by a fork, so a shim that outlives its keeper
does not hold it, and its holder can be asked for. A killed process loses it before its sockets
close, so whoever saw the connection end finds it free.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid."""


def take(path: str) -> int | None:
    """Take the lock until this process ends; its descriptor, or None when another has it.

    The descriptor must stay open: closing any descriptor of the file gives the lock up.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        return None
    return fd


def keep(path: str, fd: int) -> int:
    """Take the lock again when its file was removed or replaced; the descriptor that counts now.

    Raises OSError when there can be no such file.
    """
    try:
        found, ours = os.stat(path), os.fstat(fd)
        if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
            return fd
    except FileNotFoundError:
        pass
    again = take(path)
    if again is None:
        return fd
    os.close(fd)
    return again


def take_directory(path: str) -> int:
    """Lock a directory of our own until this process ends; the descriptor that must stay open.

    A shared lock, since a directory cannot be opened for writing; `holder` sees it all the same.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return fd


def holder(path: str) -> int | None:
    """Pid of the process that has the lock of a file or directory; None when nobody has."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    finally:
        os.close(fd)
    return None if kind == fcntl.F_UNLCK else int(pid)

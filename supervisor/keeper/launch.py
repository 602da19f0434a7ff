"""Starting the keeper program, detached from whoever starts it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.keeper import lock
from supervisor.keeper.errors import KeeperGone
from supervisor.keeper.limits import soft_nofile
from supervisor.keeper.tree import stat_fields

if TYPE_CHECKING:
    from os import PathLike

_AGAIN_S = 0.02
"""Pause between two looks at a socket that another starter's keeper is about to bind."""
_PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid; of a listener, those of the process that called listen(2)."""
_FLAGS_FIELD = 6
"""Index of the kernel's flags of the process in `stat_fields`."""
_PF_EXITING = 0x4
"""Of linux/sched.h."""
_ENVIRONMENT = {"LANG": "C.UTF-8"}
"""All that the keeper gets. A child's environment is sent with its spawn; a marker of the caller
here would let a CI job that kills everything of its own find the keeper."""


async def start_keeper(
    run_dir: str | PathLike[str],
    *,
    containment: str = "auto",
    open_files: int | None = None,
    executable: str = sys.executable,
    timeout_s: float = 10.0,
) -> None:
    """Make sure that a keeper accepts at `run_dir`/keeper.sock; starts one where none lives.

    `containment` is `auto`, `cgroup` or `shim`. `open_files` is the soft descriptor limit that
    children get; None is this process's own. The program gets a session of its own, /dev/null,
    no descriptor, no environment and no parent; of several started at once one stays, by its lock.
    Raises KeeperGone with the reason when none comes up.
    """
    path, lock_path = os.path.join(run_dir, "keeper.sock"), os.path.join(run_dir, "keeper.lock")
    # Connecting alone proves nothing: the listener of a keeper that is just dying still accepts.
    # The lock tells; where its file was removed, the process behind the listener does. What it
    # does when that connection ends is to take its lock again.
    if _accepts(path, proven=lock.holder(lock_path) is not None):
        return
    deadline = time.monotonic() + timeout_s
    await _end_of_file(_launch(str(run_dir), containment, executable, open_files), timeout_s)
    while not _accepts(path, proven=True):
        if time.monotonic() >= deadline or not lock.holder(lock_path):
            raise KeeperGone(f"no keeper came up at {path}; see keeper.log beside it")
        await asyncio.sleep(_AGAIN_S)


def _launch(run_dir: str, containment: str, executable: str, open_files: int | None) -> int:
    """Start the program; a descriptor that ends when it accepts or has failed."""
    folder = os.path.dirname(os.path.abspath(__file__))
    argv = [executable, "-I", "-S", folder, os.path.abspath(run_dir), containment]
    ready, theirs = os.pipe()
    own, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with soft_nofile(open_files or own):
            pid = os.posix_spawn(
                executable,
                argv,
                _ENVIRONMENT,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, theirs, 1),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_RDWR, 0),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=signal.valid_signals(),
            )
    except BaseException:  # whatever it is; it goes on to the caller
        os.close(ready)
        raise
    finally:
        os.close(theirs)
    os.waitpid(pid, 0)  # it forks and ends as soon as Python has started
    return ready


async def _end_of_file(fd: int, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), timeout_s)
    except TimeoutError:
        raise KeeperGone("the keeper did not start in time") from None
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _accepts(path: str, *, proven: bool) -> bool:
    """Whether somebody listens at `path`, and, unless that is proven already, is not dying."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with sock, suppress(OSError):
        sock.connect(path)
        if proven:
            return True
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        return not _dying(_PEER.unpack(peer)[0])
    return False


def _dying(pid: int) -> bool:
    """Whether a process has begun to exit; that is marked before its sockets close.

    Raises OSError when it is gone.
    """
    fields = stat_fields(pid)
    return fields[0] in "ZX" or bool(int(fields[_FLAGS_FIELD]) & _PF_EXITING)

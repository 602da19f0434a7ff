"""From a plan to a running program: the exec itself, in its two ways.

`start` picks one. posix_spawn(3) is three times faster than a fork of Python, but cannot change
users or set no_new_privs; `become` does everything, in a child forked by us. A wrapper (sh,
setpriv) was rejected: it turns exec errors into exit statuses, and dash drops environment names.

Every stage before the exec has its own name in SpawnFailed, so what remains is `exec`.

A plan is what of a request concerns the child: `argv`, `env`, `cwd`, `tty`, `user`
({uid, gid, groups} or None) and `soft_nofile`, the soft descriptor limit it gets.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import termios
from typing import TYPE_CHECKING, Never, TypeVar

from supervisor.keeper import wire
from supervisor.keeper.errors import SpawnFailed
from supervisor.keeper.limits import lower_nofile, soft_nofile
from supervisor.keeper.prctl import PR_SET_NO_NEW_PRIVS, prctl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.keeper.wire import Message

_T = TypeVar("_T")

_NOT_HERE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT}
"""Errors after which execvpe(3) looks into the next directory of PATH."""
_SIGNALS = signal.valid_signals()
_IGNORED = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_IGN]
"""Found once: asking for all of them takes 0.1 ms, and neither shim nor keeper ignores any."""


def start(plan: Message, stdio: Sequence[int]) -> int:
    """Start the plan's program as a child of this process; its pid. Raises SpawnFailed."""
    return _fork(plan, stdio) if plan["user"] else _posix_spawn(plan, stdio)


def become(plan: Message, stdio: Sequence[int], report: int) -> Never:
    """Turn this (forked) process into the plan's program.

    A failure is written to `report`, which is close-on-exec, as `ERRNO STAGE`; end of file there
    without a word means that the exec was done. Never returns.
    """
    stage = "fds"
    try:
        os.setsid()
        for target, source in enumerate(stdio):
            os.dup2(source, target)
        stage = "pty"
        if plan["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        stage = "user"
        lower_nofile(plan["soft_nofile"])
        if plan["user"]:
            _change_user(plan["user"])
        stage = "cwd"
        os.chdir(wire.encode(plan["cwd"]))  # as that user: may it enter?
        stage = "exec"
        _default_signals()
        argv, env = _encoded(plan)
        _along_path(argv[0], env, lambda path: os.execve(path, argv, env))  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(report, b"%d %s" % (error.errno or 0, stage.encode()))
    except ValueError:
        os.write(report, b"%d %s" % (errno.EINVAL, stage.encode()))
    finally:
        os._exit(127)


def read_report(report: socket.socket) -> None:
    """Wait for the outcome of `become` at the other end; raises SpawnFailed."""
    said = report.recv(100)
    if said:
        number, _, stage = said.decode().partition(" ")
        raise SpawnFailed(int(number), stage)


def _fork(plan: Message, stdio: Sequence[int]) -> int:
    """Fork and `become`. Safe in Python since keeper and shim have one thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            try:
                pid = os.fork()
            except OSError as error:
                raise SpawnFailed(error.errno or 0, "process limit") from error
            if not pid:
                become(plan, stdio, theirs.fileno())
        try:
            read_report(ours)
        except SpawnFailed:
            os.waitpid(pid, 0)
            raise
    return pid


def _posix_spawn(plan: Message, stdio: Sequence[int]) -> int:
    """Start by posix_spawn(3): own session, all signals default, nothing blocked.

    Directory and limit are inherited, so they are set here around the call. A pty becomes the
    controlling terminal by being opened as descriptor 0 after setsid.
    """
    argv, env = _encoded(plan)
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]]
    if plan["tty"]:
        actions = [(os.POSIX_SPAWN_OPEN, 0, f"/proc/self/fd/{stdio[0]}", os.O_RDWR, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
    else:
        actions = [(os.POSIX_SPAWN_DUP2, source, to) for to, source in enumerate(stdio)]

    def spawn(path: bytes) -> int:
        return os.posix_spawn(
            path,
            argv,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )

    try:
        os.chdir(wire.encode(plan["cwd"]))
    except (OSError, ValueError) as error:
        raise SpawnFailed(getattr(error, "errno", errno.EINVAL), "cwd") from error
    try:
        with soft_nofile(plan["soft_nofile"]):
            return _along_path(argv[0], env, spawn)
    except OSError as error:
        full = error.errno in (errno.EAGAIN, errno.ENOMEM)
        raise SpawnFailed(error.errno or 0, "process limit" if full else "exec") from error
    except ValueError as error:  # NUL in a string, `=` in a name
        raise SpawnFailed(errno.EINVAL, "exec", str(error)) from error
    finally:
        os.chdir("/")


def _along_path(program: bytes, env: dict[bytes, bytes], run: Callable[[bytes], _T]) -> _T:
    """Run `program`, looked up along the PATH of the child's own environment.

    The errors are those of execvpe(3): EACCES is remembered while the search goes on, and wins
    over ENOENT at the end; any other error ends it.
    """
    if not program:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    paths = [program]
    if b"/" not in program:
        folders = env.get(b"PATH", os.defpath.encode()).split(b":")
        paths = [os.path.join(folder, program) for folder in folders]
    last: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    denied: PermissionError | None = None
    for path in paths:
        try:
            return run(path)
        except PermissionError as error:
            denied = denied or error
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            last = error
    raise denied or last


def _encoded(plan: Message) -> tuple[list[bytes], dict[bytes, bytes]]:
    env = {wire.encode(name): wire.encode(value) for name, value in plan["env"].items()}
    return [wire.encode(word) for word in plan["argv"]], env


def _change_user(user: Message) -> None:
    os.setgroups(user["groups"])
    os.setresgid(user["gid"], user["gid"], user["gid"])
    os.setresuid(user["uid"], user["uid"], user["uid"])
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def _default_signals() -> None:
    """Undo SIG_IGN, which an exec would keep (Python ignores PIPE and XFSZ), and unblock all."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

"""From what the caller asked for to what the keeper spawns: argv, directory, user, environment.

Worked out at each spawn, so that a restart sees the machine as it is then. What cannot be done
is a SpawnFailed with its stage, exactly as if the keeper had found it.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import shutil
from functools import cache

from supervisor.environment import child_environment
from supervisor.keeper.client import SpawnFailed, SpawnRequest
from supervisor.records import SessionRecord, Size, Spec

__all__ = ["DETACHED_SIZE", "spawn_request"]

DETACHED_SIZE = Size(rows=40, cols=160)
_SHELLS = ("bash", "sh")


def spawn_request(record: SessionRecord, input_offset: int) -> SpawnRequest:
    """Return what the keeper is to spawn. Raises SpawnFailed (stage `user` or `exec`)."""
    spec = record.spec
    user = _user(spec.user)
    group = _group(spec.group, user)
    environment = child_environment(record, user)
    changes_user = user.pw_uid != os.geteuid() or group != os.getegid()
    size = record.size or spec.size or DETACHED_SIZE
    return SpawnRequest(
        session=record.id,
        generation=record.generation,
        argv=_argv(spec, user, environment["PATH"]),
        env=environment,
        cwd=spec.cwd or user.pw_dir or "/",
        tty=spec.tty,
        rows=size.rows,
        cols=size.cols,
        stdin=spec.stdin,
        stdout=spec.stdout,
        stderr=spec.stderr,
        uid=user.pw_uid if changes_user else None,
        gid=group if changes_user else None,
        groups=tuple(os.getgrouplist(user.pw_name, group)) if changes_user else None,
        input_offset=input_offset,
    )


def _argv(spec: Spec, user: pwd.struct_passwd, path: str) -> tuple[str, ...]:
    shell = _shell(spec.shell, user, path)
    match spec.command:
        case None:
            return (shell or (user.pw_shell or "/bin/sh",))[:1]
        case str() as text if spec.shell == "none":
            return tuple(shlex.split(text))
        case str() as text:
            prefix = shell or ("/bin/sh",)
            return (*prefix, text) if "-c" in prefix or "-lc" in prefix else (*prefix, "-c", text)
        case argv if shell:
            prefix = shell if shell[-1].endswith("c") and len(shell) > 1 else (*shell, "-c")
            return (*prefix, shlex.join(argv))
        case argv:
            return argv


def _shell(shell: str | None, user: pwd.struct_passwd, path: str) -> tuple[str, ...] | None:
    """Return the shell's argv prefix, None for no shell."""
    if shell is None or shell == "none":
        return None
    if shell != "auto":
        return tuple(shlex.split(shell))
    found = (shutil.which(name, path=path) for name in _SHELLS)
    return (next(filter(None, found), user.pw_shell or "/bin/sh"),)


def _user(wanted: str | None) -> pwd.struct_passwd:
    """Return the account by name or number; the daemon's own when none is named."""
    try:
        if wanted is None:
            return _own_account()
        return pwd.getpwuid(int(wanted)) if wanted.isdecimal() else pwd.getpwnam(wanted)
    except (KeyError, OverflowError):
        if wanted is None:
            return pwd.struct_passwd(("", "x", os.geteuid(), os.getegid(), "", "/", "/bin/sh"))
        message = f"there is no user {wanted} on this machine"
        raise SpawnFailed(errno.EINVAL, "user", message) from None


@cache
def _own_account() -> pwd.struct_passwd:
    """The daemon's account as it was at its start: it cannot become another user."""
    return pwd.getpwuid(os.geteuid())


def _group(wanted: str | None, user: pwd.struct_passwd) -> int:
    try:
        if wanted is None:
            return user.pw_gid
        return int(wanted) if wanted.isdecimal() else grp.getgrnam(wanted).gr_gid
    except KeyError:
        message = f"there is no group {wanted} on this machine"
        raise SpawnFailed(errno.EINVAL, "user", message) from None

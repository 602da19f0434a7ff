"""Spawning a session: its streams, its containment, its program.

With cgroups: by the spare when one is ready, else the keeper enters the session's cgroup, spawns
and leaves it again. Without: by a shim. Whatever fails, nothing is left
open, and the error has its errno and its stage.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import TYPE_CHECKING

from supervisor.keeper import child
from supervisor.keeper.cgroup import Cgroups, own_cgroup
from supervisor.keeper.errors import SpawnFailed
from supervisor.keeper.limits import raise_nofile
from supervisor.keeper.prctl import PR_SET_CHILD_SUBREAPER, prctl
from supervisor.keeper.session import Session
from supervisor.keeper.spare import Spare
from supervisor.keeper.streams import Streams, open_streams

if TYPE_CHECKING:
    from supervisor.keeper.shims import Shims
    from supervisor.keeper.wire import Message

_RESERVED_FDS = 64
"""Left free below the limit, so that accepting a daemon and reading /proc go on working."""


class Spawner:
    """Makes sessions. `containment` is `cgroup`, `shim`, or `children` (shim without subreaper)."""

    def __init__(
        self, keeper_id: str, wanted: str, children: dict[int, Session | None], shims: Shims
    ) -> None:
        """Choose the containment: `wanted` is `auto`, `cgroup` or `shim`.

        `children` is the keeper's table of its direct children, into which new ones are put.
        Raises OSError when `cgroup` is wanted and cannot be had. Raises the soft descriptor limit
        of this process to the hard one; children get the one found here.
        """
        self.soft_nofile, hard = raise_nofile()
        self._max_fd = hard - _RESERVED_FDS
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._cgroups = None if wanted == "shim" else _cgroups(keeper_id, required=wanted != "auto")
        self._spare: Spare | None = None
        self._spare_failed = False
        self._children = children
        self._shims = shims
        self.shim_kind = "shim" if _become_subreaper() else "children"
        """What a shim amounts to here: `children` reaches only processes with living parents."""

    @property
    def containment(self) -> str:
        """How new sessions are contained."""
        return "cgroup" if self._cgroups else self.shim_kind

    @property
    def cgroup_base(self) -> str | None:
        """Path of the directory that holds all cgroups of sessions; None with shims."""
        return self._cgroups.base if self._cgroups else None

    @property
    def wants_spare(self) -> bool:
        """Whether a quiet moment should be used for `make_spare`."""
        none_there = self._spare is None if self._cgroups else self._shims.none_idle
        return none_there and not self._spare_failed

    @property
    def spare_pid(self) -> int | None:
        """Pid of the waiting spare."""
        return self._spare.pid if self._spare else None

    def make_spare(self) -> None:
        """Fork a spare, or a shim ahead; without one the next spawn is only slower.

        Where that fails it is not tried again before that spawn.
        """
        try:
            if self._cgroups is None:
                self._shims.make_ahead()
            else:
                self._spare = Spare(self._cgroups)
        except OSError:
            self._spare_failed = True

    def spare_ended(self) -> None:
        """Forget the spare, which somebody killed; the caller reaps it."""
        if self._spare and self._cgroups:
            self._cgroups.remove(self._spare.cgroup)
            self._spare = None

    def spawn(self, request: Message) -> Session:
        """Start what `request` (fields of `client.SpawnRequest`) asks for. Raises SpawnFailed."""
        if not request["argv"]:
            raise SpawnFailed(errno.EINVAL, "exec", "the command is empty")
        self._spare_failed = False
        streams = open_streams(request, self._null)
        session = Session(request["session"], request["generation"], 0, 0, streams.kept)
        try:
            if max(streams.kept.values(), default=0) >= self._max_fd:
                raise SpawnFailed(errno.EMFILE, "fds")
            self._start(session, request, streams)
        except BaseException:  # nothing stays open; it goes on to `answer`
            streams.close()
            session.close()
            raise
        streams.close_passed()
        session.slave = streams.slave
        return session

    def drop(self, session: Session) -> None:
        """Close what the session holds and let go of its containment, which may still be full."""
        self._shims.release(session)
        session.close()
        if session.cgroup is not None and self._cgroups is not None:
            self._cgroups.remove(session.cgroup)

    def close(self) -> None:
        """End the spare and remove the cgroups that are empty."""
        if self._spare:
            self._spare.close()
        if self._cgroups:
            self.spare_ended()
            self._cgroups.close()

    def _start(self, session: Session, request: Message, streams: Streams) -> None:
        plan = {name: request[name] for name in ("argv", "env", "cwd", "tty")}
        plan |= {"user": _user(request), "soft_nofile": self.soft_nofile}
        if plan["user"] and streams.slave is not None:
            os.fchown(streams.slave, plan["user"]["uid"], -1)  # as login does: it opens its tty
        session.started_at_ns = time.time_ns()
        if self._cgroups is None:
            self._shims.start(session, plan, streams.child)
            return
        session.pid, session.cgroup = self._start_in_cgroup(self._cgroups, plan, streams)
        try:
            session.fds["pidfd"] = os.pidfd_open(session.pid)
        except OSError as error:
            self._undo(self._cgroups, session.pid, session.cgroup)
            raise SpawnFailed(error.errno or 0, "fds") from error
        self._children[session.pid] = session

    def _start_in_cgroup(
        self, cgroups: Cgroups, plan: Message, streams: Streams
    ) -> tuple[int, str]:
        """Pid and cgroup of the new child."""
        spare = self._spare
        if spare is not None and spare.ready():
            self._spare = None
            try:
                return spare.use(plan, streams.child), spare.cgroup
            except SpawnFailed:
                cgroups.remove(spare.cgroup)
                raise
        try:
            path = cgroups.make()
        except OSError as error:
            raise SpawnFailed(error.errno or 0, "cgroup") from error
        try:
            return self._start_inside(cgroups, path, plan, streams), path
        except SpawnFailed:
            cgroups.remove(path)
            raise

    def _start_inside(self, cgroups: Cgroups, path: str, plan: Message, streams: Streams) -> int:
        """Enter the cgroup, spawn, leave."""
        pid = None
        try:
            cgroups.enter(path)
            try:
                pid = child.start(plan, streams.child)
            finally:
                cgroups.leave()
        except OSError as error:
            if pid is not None:
                # Still inside: nobody may ever be told this path, its kill would be ours.
                self._cgroups = None
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            raise SpawnFailed(error.errno or 0, "cgroup") from error
        return pid

    def _undo(self, cgroups: Cgroups, pid: int, path: str) -> None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        cgroups.remove(path)


def _become_subreaper() -> bool:
    """Take orphans of dead shims; whether that works here."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return False
    return True


def _user(request: Message) -> Message | None:
    if request["uid"] is None:
        return None
    return {name: request[name] for name in ("uid", "gid", "groups")}


def _cgroups(keeper_id: str, *, required: bool) -> Cgroups | None:
    try:
        home = own_cgroup()
        if home is None:
            raise FileNotFoundError(errno.ENOENT, "no cgroup v2 hierarchy is mounted")
        return Cgroups(home, keeper_id)
    except OSError:
        if required:
            raise
        return None

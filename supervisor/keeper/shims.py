"""Shims as the keeper holds them: at work for one session, or idle and kept for the next.

Rules:
- A fork of Python costs a millisecond and more, so a shim is used again. It is idle by its own
  word only: released, its tree empty (ECHILD is the kernel's proof), its session's descriptors
  closed. Nothing of a session is in it then.
- One is made ahead in a quiet moment. At most IDLE are kept, and each minute all but one are let
  go: the end of its socket is the end of an idle shim.
- Every shim is among the keeper's children with its session, or with None while it is idle.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.keeper import shim, wire
from supervisor.keeper.errors import SpawnFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.keeper.program import Keeper
    from supervisor.keeper.session import Session
    from supervisor.keeper.wire import Message

IDLE = 8
"""Enough for commands that follow each other, and for a few at a time: 1.7 MB each."""
_ANSWERS_S = 1.0
"""The keeper serves nobody while a shim starts a leader, so it waits no longer than this, twice."""


@dataclass(slots=True, eq=False)
class ShimProcess:
    """One shim: its pid, the keeper's end of its report socket, the session it works for."""

    pid: int
    report: socket.socket
    session: Session | None = None


class Shims:
    """Makes shims, gives them work, and takes them back."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._idle: list[ShimProcess] = []
        self._all: set[ShimProcess] = set()

    @property
    def none_idle(self) -> bool:
        """Whether the next session would have to wait for a fork."""
        return not self._idle

    def make_ahead(self) -> None:
        """Fork one that waits for work. Raises OSError."""
        self._idle.append(self._fork())

    def close(self) -> None:
        """End them all; those at work when their trees are empty."""
        for process in tuple(self._all):
            self._close(process)

    def rest(self) -> None:
        """End the idle ones but one."""
        while len(self._idle) > 1:
            self._close(self._idle.pop())

    def start(self, session: Session, plan: Message, stdio: Sequence[int]) -> None:
        """Have a shim start the leader of `session`. Raises SpawnFailed."""
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        session.fds["control"] = control.detach()
        with theirs:
            process = self._given({"plan": plan}, [*stdio, theirs.fileno()])
        session.shim = process
        process.session = self._keeper.children[process.pid] = session
        try:
            session.fds["shim"] = os.pidfd_open(process.pid)
            started, fds = _first_word(process)
        except (EOFError, OSError) as error:
            session.killing = True  # the shim is dead: what it started comes to us
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            raise SpawnFailed(errno.EAGAIN, "process limit", "the shim ended early") from error
        if "pid" not in started:
            self._take_back(process)
            raise SpawnFailed(started["errno"], started["stage"])
        session.pid, session.fds["pidfd"] = started["pid"], fds[0]

    def release(self, session: Session) -> None:
        """The session is over for us; its shim comes back once its tree is empty."""
        if session.shim is not None:
            with suppress(OSError):
                wire.send(session.shim.report, {"verb": "release"})

    def hear(self, process: ShimProcess) -> None:
        """Read all that a shim reported."""
        while process.report.fileno() >= 0:
            try:
                message, fds = wire.receive(process.report)
            except BlockingIOError:
                return
            except (EOFError, OSError, ValueError):
                self._close(process)
                return
            wire.close_all(fds)
            if "status" in message and process.session is not None:
                self._keeper.leader_ended(process.session, message["status"])
            elif "idle" in message:
                self._take_back(process)

    def ended(self, pid: int) -> None:
        """An idle shim has ended, whoever killed it; the caller reaps it."""
        for process in self._idle:
            if process.pid == pid:
                self._idle.remove(process)
                self._close(process)
                return

    def _given(self, work: Message, fds: Sequence[int]) -> ShimProcess:
        """The shim that has got this work: an idle one, or a new one. Raises SpawnFailed."""
        while self._idle:
            process = self._idle.pop()
            with suppress(OSError):  # it was killed a moment ago
                os.kill(process.pid, signal.SIGCONT)
                wire.send(process.report, work, fds)
                return process
            self._close(process)
        try:
            process = self._fork()
            wire.send(process.report, work, fds)
        except OSError as error:
            raise SpawnFailed(error.errno or 0, "process limit") from error
        return process

    def _fork(self) -> ShimProcess:
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                report.close()
                raise
            if not pid:
                shim.run(theirs)
        process = ShimProcess(pid, report)
        report.settimeout(0)
        self._all.add(process)
        self._keeper.children[pid] = None
        self._keeper.watch(report.fileno(), lambda: self.hear(process))
        return process

    def _take_back(self, process: ShimProcess) -> None:
        process.session = self._keeper.children[process.pid] = None
        if len(self._idle) < IDLE:
            self._idle.append(process)
        else:
            self._close(process)

    def _close(self, process: ShimProcess) -> None:
        """Hear it no more. An idle one ends by that, one at work when its tree is empty.

        A session may have stopped its shim, and what is stopped notices no end.
        """
        if process in self._all:
            self._all.remove(process)
            self._keeper.unwatch(process.report.fileno())
            process.report.close()
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)


def _first_word(process: ShimProcess) -> tuple[Message, list[int]]:
    """What a shim reports of its start. A child may have stopped it: it is continued once.

    Raises TimeoutError when it stays silent, EOFError when it has ended.
    """
    process.report.settimeout(_ANSWERS_S)
    try:
        return wire.receive(process.report)
    except TimeoutError:
        os.kill(process.pid, signal.SIGCONT)
        return wire.receive(process.report)
    finally:
        process.report.settimeout(0)

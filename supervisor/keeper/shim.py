"""The shim: a subreaper that holds one session's tree together where no cgroup can be made.

Rules:
- Whatever of the session loses its parent becomes a child of the shim (PR_SET_CHILD_SUBREAPER), so
  its descendants are exactly the session, however they change group, session or environment.
- It kills only its direct children: their pids cannot be used again before it reaps them. Their
  children become its own by that, and so on until waitid says ECHILD, the kernel's proof of empty.
- It reports the leader's status to the holders of its control socket and to the keeper, and only
  then reaps it.
- Released and empty, it says so and waits for the next session, unless this one changed what the
  next would inherit: then it ends.
- When keeper and daemon are both gone it kills its tree and ends: nobody could do it later.

Report socket, for the shim's whole life. The keeper sends `{plan}` with the leader's 0, 1, 2 and
the control socket; later `{verb: release}`. The shim sends `{pid}` with the leader's pidfd, or
`{errno, stage}` and is idle; `{status}`; `{idle}`.

Control socket, for one session. The daemon sends `{seq, verb: kill | empty}`. The shim sends
`{status}`; `{seq}` for a kill that is under way; `{empty}` when nothing is left of the tree, and
again when asked after that. A `seq` is unique over all daemons, so an answer meant for a former
one is recognised.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Never

from supervisor.keeper import child, wire
from supervisor.keeper.errors import SpawnFailed
from supervisor.keeper.forked import close_all_but, forget_signals
from supervisor.keeper.inherited import inherited
from supervisor.keeper.prctl import PR_SET_CHILD_SUBREAPER, prctl
from supervisor.keeper.reap import has_children, reap_some
from supervisor.keeper.tree import children_of

if TYPE_CHECKING:
    from supervisor.keeper.wire import Message


def run(report: socket.socket) -> Never:
    """Be a shim, from fork to exit. Never returns."""
    try:
        gc.freeze()  # a collection would write to, and so copy, every page shared with the keeper
        forget_signals()
        close_all_but([report.fileno()])
        with suppress(OSError):  # the keeper knows it and calls this containment weaker
            prctl(PR_SET_CHILD_SUBREAPER, 1)
        wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        while True:
            report.settimeout(None)
            work, fds = wire.receive(report)
            Shim(report, socket.socket(fileno=fds.pop()), (wake, wake_write)).serve(
                work["plan"], fds
            )
    except EOFError:
        os._exit(0)  # nobody has work any more
    finally:
        os._exit(1)


class Shim:
    """A shim at work: the state of one session."""

    def __init__(
        self, report: socket.socket, control: socket.socket, wake: tuple[int, int]
    ) -> None:
        """`wake` is the pipe into which signals are written."""
        self._report: socket.socket | None = report
        self._control: socket.socket | None = control
        self._wake, self._wake_write = wake
        self._found = inherited()
        self._leader = 0
        self._killing = False
        self._released = False
        self._told_empty = False

    def serve(self, plan: Message, stdio: list[int]) -> None:
        """Start the leader; return when the shim is idle, end when there is nobody to be idle for.

        `stdio` are descriptors of this process, closed here.
        """
        if not self._start(plan, stdio):
            return
        while True:
            self._reap()
            if not has_children() and self._settle():
                break
            self._wait()
        if self._control is not None:
            self._control.close()
        if self._report is None or inherited() != self._found:
            os._exit(0)
        self._tell(self._report, {"idle": True})

    def _start(self, plan: Message, stdio: list[int]) -> bool:
        assert self._report is not None  # noqa: S101 - for the type checker
        assert self._control is not None  # noqa: S101 - for the type checker
        try:
            self._leader = child.start(plan, stdio)
        except SpawnFailed as error:
            wire.close_all(stdio)
            self._control.close()
            wire.send(self._report, {"errno": error.errno, "stage": error.stage})
            return False
        wire.close_all(stdio)
        pidfd = os.pidfd_open(self._leader)  # before the reap, while the pid is surely its own
        with suppress(OSError):  # the keeper has ended: heard below, and maybe the end of the tree
            wire.send(self._report, {"pid": self._leader}, [pidfd])
        os.close(pidfd)
        return True

    def _reap(self) -> None:
        if reap_some(self._ended):
            os.write(self._wake_write, b"\0")
        if self._killing:
            self._kill_children()

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._leader:
            self._leader = 0
            self._tell(self._control, {"status": status})
            self._tell(self._report, {"status": status})

    def _kill_children(self) -> None:
        if self._leader:
            with suppress(OSError):  # without subreaper this reaches orphans of its group at least
                os.killpg(self._leader, signal.SIGKILL)
        for pid in children_of(os.getpid()):
            with suppress(OSError):  # a child of another user, when we are not root
                os.kill(pid, signal.SIGKILL)

    def _settle(self) -> bool:
        """Nothing is left of the tree, nor will be: say so; whether the work is over."""
        self._killing = False
        if not self._told_empty:
            self._told_empty = True
            self._tell(self._control, {"empty": True})
        return self._released or (self._report is None and self._control is None)

    def _wait(self) -> None:
        """Wait for a child's end or a message."""
        socks = {sock.fileno(): sock for sock in (self._report, self._control) if sock is not None}
        poll = select.poll()  # select() refuses descriptors above 1023
        for fd in (self._wake, *socks):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll():
            if fd == self._wake:
                os.read(fd, 4096)
            else:
                self._hear(socks[fd])
        if self._report is None and self._control is None and not self._released:
            self._killing = True

    def _hear(self, sock: socket.socket) -> None:
        try:
            message, fds = wire.receive(sock)
        except (EOFError, OSError, ValueError):
            sock.close()
            self._report = None if sock is self._report else self._report
            self._control = None if sock is self._control else self._control
            return
        wire.close_all(fds)
        verb = message.get("verb")
        if verb == "release":
            self._released = True
        elif verb == "kill":
            self._killing = True
            self._tell(sock, {"seq": message["seq"]})
        elif verb == "empty":
            self._told_empty = False

    def _tell(self, sock: socket.socket | None, message: Message) -> None:
        """Send without ever blocking: nobody may be reading, and the tree comes first."""
        if sock is not None:
            sock.settimeout(0)
            with suppress(OSError):
                wire.send(sock, message)

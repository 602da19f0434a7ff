"""The keeper program: one thread, one epoll, one daemon, a table of sessions.

Rules:
- It decides nothing. It starts, holds, reaps and hands over; a daemon asks for everything.
- It serves one daemon connection at a time. The next one is accepted only after the end of file of
  the former: that is the proof that the former has no splice in flight.
- It never waits for the daemon. While a reply cannot be sent, no further request is read, so the
  queue holds the replies to one request; ends of children wait in a set, at most one each, and are
  only a nudge: `list` has the truth.
- TERM, HUP, INT, USR1 and USR2 are handled, not ignored, because an ignored signal is inherited.
  HUP binds the socket again when its file is gone.
- Its lock proves to others that it lives. A lock file or socket that was removed is made again at
  the end of each connection, and within a minute.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.keeper import lock, requests, wire
from supervisor.keeper.forked import HANDLED, close_all_but
from supervisor.keeper.orphans import Orphans
from supervisor.keeper.reap import reap_some
from supervisor.keeper.respawn import Respawner
from supervisor.keeper.shims import Shims
from supervisor.keeper.spawn import Spawner

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.keeper.session import Session
    from supervisor.keeper.wire import Message

SOCKET_NAME = "keeper.sock"
LOCK_NAME = "keeper.lock"
QUIET_S = 0.005
"""After so long without an event the spare is made."""
HELLO_S = 5.0
"""A connection that has not said hello by then is closed, since others wait behind it."""
_LOOK_S = 60.0
"""At least so often the files of lock and socket are looked for."""


class Keeper:
    """The keeper's state and its loop."""

    def __init__(self, run_dir: str, containment: str, lock_fd: int) -> None:
        """`lock_fd` holds the lock of the run directory."""
        self.keeper_id = os.urandom(8).hex()
        self.sessions: dict[tuple[str, int], Session] = {}
        self.children: dict[int, Session | None] = {}
        """Direct children of the keeper by pid: shims, leaders without shim, orphans and, as
        None, idle shims and strangers. An entry outlives the session, until the child is reaped."""
        self.ending = False
        """Whether a daemon asked to end this keeper once it holds no session."""
        self.daemon_pid = 0
        """Of the daemon that is connected, or was last."""
        self.shims = Shims(self)
        self.spawner = Spawner(self.keeper_id, containment, self.children, self.shims)
        self.respawner = Respawner(self.spawner.soft_nofile)
        self.orphans = Orphans(self)
        self._socket_path = os.path.join(run_dir, SOCKET_NAME)
        self._lock_path, self._lock_fd = os.path.join(run_dir, LOCK_NAME), lock_fd
        self._look_at = 0.0
        self._epoll = select.epoll()
        self._serving: dict[int, Callable[[], None]] = {}
        self._wake, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.watch(self._wake, self._woken)
        self._daemon: socket.socket | None = None
        self._listener: socket.socket | None = None
        self.bind()
        self._greeted = False
        self._hello_by = 0.0
        self._replies: deque[tuple[Message, list[int]]] = deque()
        self._ended: dict[tuple[str, int], Session] = {}
        """Children whose end the daemon has not been told yet."""

    def run(self) -> None:
        """Serve until a daemon asked for the end and no session is left."""
        while not (self.ending and not self.sessions and not self._replies):
            events = self._epoll.poll(self._timeout_s())
            for fd, _ in events:
                serve = self._serving.get(fd)
                if serve is not None:  # not closed by an earlier one of this round
                    serve()
            self._on_time(quiet=not events)
        with suppress(FileNotFoundError):
            os.unlink(self._socket_path)
        self.spawner.close()
        self.shims.close()

    def watch(self, fd: int, serve: Callable[[], None]) -> None:
        """Call `serve` when `fd` is readable."""
        self._serving[fd] = serve
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop that; to be called before the descriptor is closed."""
        del self._serving[fd]
        self._epoll.unregister(fd)

    def bind(self) -> None:
        """Listen and hold the lock, as far as their files are not in their places."""
        self._look_at = time.monotonic() + _LOOK_S
        with suppress(OSError):  # no directory: nobody can look for a keeper there either
            self._lock_fd = lock.keep(self._lock_path, self._lock_fd)
        if self._listener is not None and os.path.exists(self._socket_path):
            return
        try:
            listener = _listen(self._socket_path)
        except OSError:
            if self._listener is None:
                raise
            return  # the directory is gone; what we have may still be served
        if self._listener is not None:
            if self._listener.fileno() in self._serving:
                self.unwatch(self._listener.fileno())
            self._listener.close()
        self._listener = listener
        if self._daemon is None:
            self.watch(listener.fileno(), self._accept)

    def leader_ended(self, session: Session, status: int) -> None:
        """Record the end of a session's leader and tell the daemon when it can hear."""
        if session.status is None:
            session.leader_ended(status)
            if self.holds(session):
                self._ended[session.id, session.generation] = session

    def forget(self, session: Session) -> None:
        """Drop a session from all tables."""
        if session in self.orphans.bereft:
            self.orphans.bereft.remove(session)
        self._ended.pop((session.id, session.generation), None)
        del self.sessions[session.id, session.generation]
        self.spawner.drop(session)

    def hold(self, session: Session) -> None:
        """Put a new session into the table."""
        self.sessions[session.id, session.generation] = session

    def holds(self, session: Session) -> bool:
        """Whether it is in the table: neither dropped nor failed while it was spawned."""
        return self.sessions.get((session.id, session.generation)) is session

    def greeted(self) -> None:
        """The daemon's hello was understood."""
        self._greeted = True
        self.ending = False

    def _timeout_s(self) -> float:
        due = [self._look_at - time.monotonic()]
        if self.spawner.wants_spare:
            due.append(QUIET_S)
        if self.respawner.due is not None:
            due.append(self.respawner.due - time.monotonic())
        if self._daemon is not None and not self._greeted:
            due.append(self._hello_by - time.monotonic())
        return max(min(due), 0.0)

    def _on_time(self, *, quiet: bool) -> None:
        now = time.monotonic()
        if self._daemon is not None and not self._greeted and now >= self._hello_by:
            self._disconnect()
        if self.respawner.due is not None and now >= self.respawner.due:
            self.respawner.start(now)
        if now >= self._look_at:
            self.bind()
            self.shims.rest()
        if quiet and self.spawner.wants_spare:
            self.spawner.make_spare()
        self._flush()

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - for the type checker
        try:
            daemon, _ = self._listener.accept()
        except OSError:
            return
        daemon.settimeout(0)
        peer = daemon.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", peer)
        if uid not in (0, os.geteuid()):
            daemon.close()
            return
        self.daemon_pid = pid
        self._daemon, self._greeted = daemon, False
        self._hello_by = time.monotonic() + HELLO_S
        self.unwatch(self._listener.fileno())
        self.watch(daemon.fileno(), self._hear_daemon)

    def _hear_daemon(self) -> None:
        if self._daemon is None or self._replies:
            return
        if not self._greeted and _hung_up(self._daemon):
            self._disconnect()  # it gave up waiting: its hello must not count
            return
        try:
            message, fds = wire.receive(self._daemon)
        except BlockingIOError:
            return
        except (EOFError, OSError, ValueError):
            self._disconnect()
            return
        wire.close_all(fds)  # a daemon has none to give
        self._replies += requests.answer(self, message, greeted=self._greeted)
        self._flush()

    def _flush(self) -> None:
        """Send what waits, as far as the daemon takes it."""
        if self._daemon is None or not (self._replies or (self._ended and self._greeted)):
            return
        waiting_for = select.EPOLLIN
        try:
            while self._replies:
                wire.send(self._daemon, *self._replies[0])
                self._replies.popleft()
            for key, session in list(self._ended.items() if self._greeted else ()):
                wire.send(self._daemon, {"exited": [*key, session.status]})
                del self._ended[key]
        except BlockingIOError:
            waiting_for = select.EPOLLOUT
        except OSError:
            self._disconnect()
            return
        self._epoll.modify(self._daemon.fileno(), waiting_for)

    def _disconnect(self) -> None:
        assert self._daemon is not None  # noqa: S101 - for the type checker
        assert self._listener is not None  # noqa: S101 - for the type checker
        self.unwatch(self._daemon.fileno())
        self._daemon.close()
        self._daemon = None
        self._replies.clear()
        self._ended.clear()  # the next daemon asks for the list first
        self.watch(self._listener.fileno(), self._accept)
        self.bind()
        if self._greeted:
            self.respawner.connection_ended(time.monotonic())

    def _woken(self) -> None:
        """A signal came: reap, and bind the socket again if its file is gone."""
        with suppress(BlockingIOError):
            if signal.SIGHUP in os.read(self._wake, 4096):
                self.bind()
        daemon = self.respawner.pid
        if reap_some(self._reaped):
            os.write(self._wake_write, b"\0")
        if self.orphans.bereft or daemon != self.respawner.pid:
            self.orphans.look()

    def _reaped(self, pid: int, status: int) -> None:
        """A child of ours ended: a daemon, a spare, a leader, a shim, an orphan, a stranger."""
        if pid == self.respawner.pid:
            self.respawner.ended(time.monotonic())
        elif pid == self.spawner.spare_pid:
            self.spawner.spare_ended()
        session = self.children.get(pid)
        if session is None:
            self.shims.ended(pid)
        elif session.shim is not None and session.shim_pid == pid:
            self.shims.hear(session.shim)  # what it said before it died
            if self.holds(session) or session.killing:
                self.orphans.bereft.append(session)
                self.orphans.look()  # at once: its leader may be the next that is reaped here
        elif session.pid == pid:
            self.leader_ended(session, status)
        self.children.pop(pid, None)  # only now: until it is reaped `look` sees it
        if session is not None:
            session.orphans.discard(pid)


def main(arguments: list[str]) -> None:
    """Run the keeper: arguments are the run directory and `auto`, `cgroup` or `shim`.

    Whoever starts it waits for the end of file of its descriptor 1: then the socket accepts, or
    another keeper holds the lock and was told to bind its socket, or this one could not start and
    its reason is in `keeper.log`.
    """
    run_dir, containment = arguments
    lock_path = os.path.join(run_dir, LOCK_NAME)
    if os.fork():  # nobody's child that matters; and no session leader, which could gain a tty
        os._exit(0)
    close_all_but([])
    os.chdir("/")
    os.umask(0o022)
    for number in HANDLED:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        lock_fd = lock.take(lock_path)
        if lock_fd is None:
            other = lock.holder(lock_path)
            if other is not None:
                os.kill(other, signal.SIGHUP)
            return
        keeper = Keeper(run_dir, containment, lock_fd)
        _leave_stdio()
        keeper.run()
    except BaseException:  # the last words; whoever looks for them reads the file
        with open(os.path.join(run_dir, "keeper.log"), "a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
        raise


def _listen(path: str) -> socket.socket:
    """A listener at `path`, for its owner only. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _hung_up(sock: socket.socket) -> bool:
    """Whether the other side has closed, even if what it sent is still to be read."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def _leave_stdio() -> None:
    """Put /dev/null on 0 to 2, which tells the starter that the socket accepts."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)

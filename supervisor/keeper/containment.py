"""The daemon's hold on a whole process tree: by its cgroup, or through its shim.

Rules:
- Kill means every process, wherever it moved: `cgroup.kill`, or the shim's direct children until
  ECHILD. Neither needs the keeper alive.
- `pids` is a photograph. `signal` therefore opens a pidfd for each, looks again, and signals those
  that are in both: a number that was used again meanwhile is never hit.
- A shim can be stopped by its own child. Each request continues it; one that leaves a kill without
  an answer is killed itself.
- A dead shim's children belong to the keeper, which then does the killing (`kill_orphans`).

Over 400 lines, since both kinds keep one promise and share how they wait and how they signal.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import signal as signals
import socket
import struct
import time
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Any, Protocol

from supervisor.keeper import wire
from supervisor.keeper.cgroup import base_lives, remove_left_base, remove_tree, tree_of
from supervisor.keeper.errors import KeeperError
from supervisor.keeper.tree import descendants_of, stat_fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ANSWER_S = 1.0
"""A shim answers in milliseconds; one silent for so long is stopped."""


class Containment(Protocol):
    """What holds one session's tree together."""

    kind: str
    """`cgroup`, `shim`, or `children`: a shim that orphans can escape from."""

    def describe(self) -> dict[str, Any]:
        """`{kind, cgroup}` for the session's record; a cgroup path outlives keeper and daemon."""

    async def kill(self) -> None:
        """SIGKILL the whole tree; returns when that is under way. Raises OSError, KeeperError."""

    def root(self) -> str | int:
        """Where the members are found: the cgroup's path, or the pid they descend from.

        It costs no system call and may be used on another thread, unlike `pids`. Once the shim has
        ended, nobody descends from it.
        """

    def pids(self) -> list[int]:
        """Living members, leader included."""

    async def empty(self, timeout: float) -> bool:
        """Wait until no member lives, at most `timeout` seconds; whether that is so."""

    def signal(self, signum: int) -> int:
        """Send a signal to every member; how many got it."""

    def leader_status(self) -> int | None:
        """The leader's wait status if the containment itself was told it."""

    def close(self) -> None:
        """Close the daemon's own descriptors; nothing happens to the processes."""


class CgroupContainment:
    """A cgroup v2 directory."""

    kind = "cgroup"

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> dict[str, Any]:
        """See Containment."""
        return {"kind": self.kind, "cgroup": self.path}

    async def kill(self) -> None:
        """See Containment."""
        _write_kill(self.path)

    def root(self) -> str | int:
        """See Containment."""
        return self.path

    def pids(self) -> list[int]:
        """See Containment."""
        return cgroup_pids(self.path)

    async def empty(self, timeout: float) -> bool:
        """See Containment. Waits on `cgroup.events`, which changes when the last member ends."""
        try:
            events = _open_events(self.path)
        except FileNotFoundError:
            return True
        with events:
            return not _populated(events) or await self._emptied(events, timeout)

    async def _emptied(self, events: FileIO, timeout: float) -> bool:
        with select.epoll() as changed:
            # The file is always readable; what a change brings is EPOLLPRI, for which an event
            # loop has no call. An epoll in the loop's epoll makes it readability.
            changed.register(events.fileno(), select.EPOLLPRI)
            return await _until(lambda: not _populated(events), changed.fileno(), timeout)

    def signal(self, signum: int) -> int:
        """See Containment."""
        return _signal_all(self.pids, signum)

    def leader_status(self) -> int | None:
        """See Containment: a cgroup is told nothing."""
        return None

    def close(self) -> None:
        """See Containment."""


class ShimContainment:
    """A shim, reached over its control socket, or its orphans, reached through the keeper.

    Use one per session at a time: duplicates of the socket take each other's answers.
    """

    def __init__(
        self,
        kind: str,
        control: int,
        shim_pidfd: int,
        shim_pid: int,
        orphans: Callable[[bool], Awaitable[list[int]]],
    ) -> None:
        """`orphans` asks the keeper for the pids that a dead shim left, killing them if true."""
        self.kind = kind
        self._control = socket.socket(fileno=control)
        self._control.settimeout(0)
        self._shim_pidfd = shim_pidfd
        self._shim_pid = shim_pid
        self._ask_orphans = orphans
        self._orphans: list[int] = []
        self._status: int | None = None
        self._seq = time.monotonic_ns()
        """Counts on from here; monotonic over all daemons since boot, so old answers are known."""
        self._answered = 0
        """Highest `seq` of a kill that was answered."""
        self._is_empty = False
        """Whether the shim said so; it is true for good, and the shim may serve others after it."""
        self._shim_ended = False
        self._waiting = asyncio.Lock()
        """A descriptor can have one reader in a loop."""

    def describe(self) -> dict[str, Any]:
        """See Containment."""
        return {"kind": self.kind, "cgroup": None}

    async def kill(self) -> None:
        """See Containment."""
        for _ in range(2):
            if self._heard_empty() or not self._request("kill"):
                break
            if await self._answers(self._seq) and not self._shim_ended:
                return
        if self._is_empty:
            return
        with suppress(ProcessLookupError):
            signals.pidfd_send_signal(self._shim_pidfd, signals.SIGKILL)
        await _until(lambda: exited(self._shim_pidfd), self._shim_pidfd, _ANSWER_S)
        await self._hear_of_orphans(kill=True)

    def root(self) -> str | int:
        """See Containment."""
        return self._shim_pid

    def pids(self) -> list[int]:
        """See Containment. With a dead shim: those that the last kill or empty heard of."""
        if self._heard_empty() and self._is_empty:
            return []
        found = self._orphans if exited(self._shim_pidfd) else descendants_of(self._shim_pid)
        return [pid for pid in found if _lives(pid)]

    async def empty(self, timeout: float) -> bool:
        """See Containment."""
        deadline = time.monotonic() + timeout
        async with self._waiting:
            asked = not self._heard_empty() and self._request("empty")
            if asked and not await self._says_empty(deadline):
                return False
            return self._is_empty or await self._orphans_gone(deadline)

    def signal(self, signum: int) -> int:
        """See Containment. Nobody once the shim is dead: only the keeper may signal its orphans."""
        return 0 if exited(self._shim_pidfd) else _signal_all(self.pids, signum)

    def leader_status(self) -> int | None:
        """See Containment."""
        self._heard_empty()
        return self._status

    def close(self) -> None:
        """See Containment. From here on nothing is signalled: the numbers are somebody else's."""
        self._is_empty = True
        self._control.close()
        os.close(self._shim_pidfd)

    async def _says_empty(self, deadline: float) -> bool:
        """Wait for that, and keep the shim going meanwhile."""
        while True:
            left_s = max(deadline - time.monotonic(), 0.0)
            if await _until(self._heard_empty, self._control.fileno(), min(left_s, _ANSWER_S)):
                return True
            if left_s <= _ANSWER_S:
                return False
            self._continue()

    async def _answers(self, seq: int) -> bool:
        """Wait for the answer to a kill; whoever waits for empty may be the one that hears it."""
        own = os.dup(self._control.fileno())
        try:
            return await _until(lambda: self._heard(seq), own, _ANSWER_S)
        finally:
            os.close(own)

    def _heard(self, seq: int) -> bool:
        return self._heard_empty() or self._answered >= seq

    def _continue(self) -> None:
        with suppress(OSError):  # it has ended
            signals.pidfd_send_signal(self._shim_pidfd, signals.SIGCONT)

    def _request(self, verb: str) -> bool:
        """Send a request to the shim; false when it has ended."""
        self._seq += 1
        self._continue()
        try:
            wire.send(self._control, {"seq": self._seq, "verb": verb})
        except OSError:
            self._heard_empty()  # its last words first: it may be empty, and serve another by now
            self._shim_ended = True
            return False
        return True

    def _heard_empty(self) -> bool:
        """Take what the shim said; whether nothing is left of the tree, or the shim has ended."""
        while not (self._is_empty or self._shim_ended):
            try:
                message, fds = wire.receive(self._control)
            except BlockingIOError:
                break
            except ConnectionResetError:  # it left a request unread; what it said is behind this
                continue
            except (EOFError, OSError, ValueError):
                self._shim_ended = True
                break
            wire.close_all(fds)
            self._status = message.get("status", self._status)
            self._answered = max(self._answered, message.get("seq", 0))
            self._is_empty = "empty" in message
        return self._is_empty or self._shim_ended

    async def _hear_of_orphans(self, *, kill: bool) -> None:
        """Ask the keeper what a dead shim left.

        Nothing when it does not hold the session: a shim that was released by `drop` ends when
        its tree has. When the keeper is gone too, what was heard of before is all we know.
        """
        try:
            self._orphans = await self._ask_orphans(kill)
        except ProcessLookupError:
            self._orphans = []
        except KeeperError:
            self._orphans = self.pids()

    async def _orphans_gone(self, deadline: float) -> bool:
        """Wait for one orphan after the other; the keeper says which there are."""
        while True:
            await self._hear_of_orphans(kill=False)
            left_s = deadline - time.monotonic()
            if not self._orphans or left_s <= 0:
                return not self._orphans
            with suppress(ProcessLookupError):
                await _ended_within(self._orphans[0], left_s)


def cgroup_pids(path: str) -> list[int]:
    """Pids in the cgroup at `path` and below; empty when it is gone."""
    found: list[int] = []
    for folder in tree_of(path):
        # It may have been removed meanwhile; a threaded one cannot be read, and its members
        # are those of the cgroup above.
        with suppress(OSError), open(os.path.join(folder, "cgroup.procs"), "rb") as file:
            found += map(int, file)
    return list(dict.fromkeys(found))  # who moves down meanwhile is met twice


async def _ended_within(pid: int, timeout_s: float) -> None:
    """Wait for the end of a process that is not our child. Raises ProcessLookupError if gone."""
    pidfd = os.pidfd_open(pid)
    try:
        await _until(lambda: exited(pidfd), pidfd, timeout_s)
    finally:
        os.close(pidfd)


async def kill_left_cgroup(path: str, timeout: float = 2.0) -> list[int]:
    """Kill and remove the cgroup that a former keeper left; pids that survived.

    `path` is a session's, or the base of all of them. A living keeper's base is left alone: its
    members are then those that survived.
    """
    left = CgroupContainment(path)
    if base_lives(path):
        return left.pids()
    with suppress(FileNotFoundError):
        await left.kill()
    if not await left.empty(timeout):
        return left.pids()
    remove_tree(path)
    remove_left_base(os.path.dirname(path))  # the keeper's own goes with its last session
    return []


def exited(pidfd: int) -> bool:
    """Whether the process of `pidfd` has ended, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def exit_status_of(pidfd: int, pid: int) -> int | None:
    """Wait status of an ended process that is not our child; None when nobody can know it.

    Before the reap it is the last field of the zombie's /proc/PID/stat (proc(5)); after it the
    kernel keeps it for holders of a pidfd (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15).
    """
    for _ in range(2):  # it may be reaped between the two looks
        status = _zombie_status(pidfd, pid)
        if status is None:
            status = _reaped_status(pidfd)
        if status is not None:
            return status
    return None


_PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, struct pidfd_info), with the 64 bytes of its first version."""
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO = struct.Struct("=QQ11Ii")
"""mask, cgroup ID, pid tgid ppid and eight user and group IDs, exit code."""


def _reaped_status(pidfd: int) -> int | None:
    asked = _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *[0] * 13)
    try:
        told = _PIDFD_INFO.unpack(fcntl.ioctl(pidfd, _PIDFD_GET_INFO, asked))
    except OSError:
        return None  # an older kernel, or not reaped
    return int(told[-1]) if told[0] & _PIDFD_INFO_EXIT else None


def _zombie_status(pidfd: int, pid: int) -> int | None:
    try:
        fields = stat_fields(pid)
        signals.pidfd_send_signal(pidfd, 0)  # not reaped even now, so what we read was its own
    except OSError:
        return None
    return int(fields[-1]) if fields[0] == "Z" else None


def _write_kill(path: str) -> None:
    with open(os.path.join(path, "cgroup.kill"), "wb", buffering=0) as file:
        file.write(b"1")


def _open_events(path: str) -> FileIO:
    return FileIO(os.path.join(path, "cgroup.events"))


def _populated(events: FileIO) -> bool:
    try:
        events.seek(0)
        return b"populated 1" in events.read()
    except OSError:
        return False  # ENODEV: the cgroup was removed, which needs it empty


def _lives(pid: int) -> bool:
    try:
        return stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


def _signal_all(members: Callable[[], list[int]], signum: int) -> int:
    """Signal each member that is one both before and after its pidfd was opened; how many."""
    opened: dict[int, int] = {}
    try:
        for pid in members():
            with suppress(OSError):
                opened[pid] = os.pidfd_open(pid)
        reached = 0
        for pid in set(members()) & set(opened):
            with suppress(OSError):
                signals.pidfd_send_signal(opened[pid], signum)
                reached += 1
        return reached
    finally:
        wire.close_all(list(opened.values()))


async def _until(check: Callable[[], bool], fd: int, timeout_s: float) -> bool:
    """Wait until `check` holds; it is asked now and whenever `fd` is readable."""
    if check():
        return True
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def look() -> None:
        if not done.done() and check():
            done.set_result(True)

    loop.add_reader(fd, look)
    try:
        return await asyncio.wait_for(done, timeout_s)
    except TimeoutError:
        return check()
    finally:
        loop.remove_reader(fd)

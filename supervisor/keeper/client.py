"""The daemon's side of the keeper's socket.

Rules:
- One connection; requests carry a `ref`, answers come in any order beside `exited` nudges.
- Every descriptor that arrives has an owner: the caller who asked, or, when that caller is gone
  (cancelled), it is closed at once.
- Spawn is idempotent by (session, generation), so after a lost answer the caller asks again.
- An end of the connection without `bye` looks like a crash: the keeper starts a daemon again.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from dataclasses import fields
from typing import TYPE_CHECKING

from supervisor.keeper import wire
from supervisor.keeper.containment import CgroupContainment, ShimContainment
from supervisor.keeper.errors import KeeperError, KeeperGone, SpawnFailed
from supervisor.keeper.held import Held, Respawn, SpawnRequest
from supervisor.keeper.launch import start_keeper

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from supervisor.keeper.containment import Containment
    from supervisor.keeper.wire import Message

__all__ = [
    "Held",
    "KeeperClient",
    "KeeperError",
    "KeeperGone",
    "Respawn",
    "SpawnFailed",
    "SpawnRequest",
    "start_keeper",
]

_Fds = list[int]
_Answer = tuple["Message", list[int]]
_Messages = list["Message"]
_AllHeld = list[Held]
"""Named out here, since inside the class `list` is a method."""

_DROP_TOGETHER_S = 0.005
_SPAWN_FIELDS = tuple(field.name for field in fields(SpawnRequest))


class KeeperClient:
    """A connection to a keeper. Made by `connect`; methods raise KeeperGone after its end."""

    keeper_id: str
    pid: int
    boot_id: str
    protocol: int
    containment: str
    """How new sessions are contained: `cgroup`, `shim`, or `children` (weaker: no subreaper)."""
    cgroup_base: str | None
    """Path of the directory that holds the cgroups of all its sessions; None where they have none,
    and from a keeper that was started before it told this."""

    def __init__(
        self,
        sock: socket.socket,
        on_exited: Callable[[str, int, int], None],
        on_gone: Callable[[], None],
    ) -> None:
        """Use `connect`."""
        self._sock = sock
        self._on_exited = on_exited
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._refs = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[_Answer]] = {}
        self._lists: dict[int, tuple[_Messages, _Fds]] = {}
        """Parts of an answer of several messages, until its last."""
        self._unsent: deque[Message] = deque()
        self._dropping: tuple[list[tuple[str, int]], asyncio.Future[None]] | None = None
        self._open = True
        self._loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    async def connect(
        cls,
        socket_path: str | PathLike[str],
        *,
        respawn: Respawn | None,
        on_exited: Callable[[str, int, int], None],
        on_gone: Callable[[], None],
        timeout: float = 10.0,
    ) -> KeeperClient:
        """Connect and say hello.

        The answer comes only once a former daemon's connection has ended, and is waited for
        `timeout` seconds. `respawn` is how the
        keeper starts a daemon when this connection ends without `bye`. `on_exited(session,
        generation, wait status)` is called for each leader's end from now on (`list` has those
        before); `on_gone()` once when the connection ends and `close` was not called.
        Raises KeeperGone (nobody listens, no common version) and TimeoutError.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            sock.connect(str(socket_path))
        except OSError as error:
            sock.close()
            raise KeeperGone(f"no keeper answers at {socket_path}: {error.strerror}") from error
        client = cls(sock, on_exited, on_gone)
        try:
            command = None if respawn is None else {"argv": respawn.argv, "env": dict(respawn.env)}
            hello = client._ask("hello", versions=wire.UNDERSTOOD, respawn=command)
            told, _ = await asyncio.wait_for(hello, timeout)
        except KeeperGone:
            raise
        except (KeeperError, OSError) as error:
            client.close()
            if isinstance(error, TimeoutError):
                raise
            raise KeeperGone(str(error)) from error
        except BaseException:  # a cancellation; it goes on to the caller
            client.close()
            raise
        client.keeper_id, client.pid = told["keeper_id"], told["pid"]
        client.boot_id, client.protocol = told["boot_id"], told["version"]
        client.containment = told["containment"]
        client.cgroup_base = told.get("cgroup_base")
        return client

    async def list(self) -> _AllHeld:
        """Every child the keeper holds. The caller owns the descriptors (`Held.close`)."""
        told, fds = await self._ask("list")
        return self._held(told["held"], fds)

    async def spawn(self, request: SpawnRequest) -> Held:
        """Start a child, or answer the one already held for (session, generation).

        The caller owns the descriptors. Raises SpawnFailed. After a cancellation the child may
        run: ask again or `drop`.
        """
        told, fds = await self._ask(
            "spawn", **{name: getattr(request, name) for name in _SPAWN_FIELDS}
        )
        return self._held([told["held"]], fds)[0]

    async def signal(self, session: str, generation: int, signum: int, target: str) -> None:
        """Signal the leader (`leader`) or its process group (`group`).

        Raises ProcessLookupError when it has ended; a signal to the whole tree is
        `Containment.signal`.
        """
        await self._ask(
            "signal", session=session, generation=generation, signum=signum, target=target
        )

    async def close_input(self, session: str, generation: int) -> None:
        """Close the keeper's write end; the child sees the end once ours is closed too."""
        await self._ask("close_input", session=session, generation=generation)

    async def new_journal(self, session: str, generation: int, offset: int) -> int:
        """Replace the input journal by one that begins at `offset`; the caller owns it.

        Only when all of the former is delivered: the keeper closes it.
        """
        _, fds = await self._ask(
            "new_journal", session=session, generation=generation, offset=offset
        )
        return fds[0]

    async def drop(self, session: str, generation: int) -> None:
        """Let the keeper close all it holds of a session. Idempotent.

        The containment goes as soon as it is empty; what still lives in it is not killed. Drops
        of a few milliseconds go in one message: short commands in a row wake the keeper less.
        """
        if self._dropping is None:
            self._dropping = [], self._loop.create_future()
            self._loop.call_later(_DROP_TOGETHER_S, self._send_drops)
        sessions, done = self._dropping
        sessions.append((session, generation))
        await asyncio.shield(done)

    async def bye(self) -> None:
        """Say that the end of this connection will be meant: no respawn."""
        self._send_drops()
        await self._ask("bye")

    async def end(self) -> None:
        """Say bye, and have the keeper end once it holds no session.

        The connection's end is then no news: `on_gone` is not called.
        """
        self._on_gone = lambda: None
        self._send_drops()
        await self._ask("end")

    def _send_drops(self) -> None:
        if self._dropping is None:
            return
        (sessions, done), self._dropping = self._dropping, None

        def answered(asked: asyncio.Task[object]) -> None:
            if done.done():
                return
            error = None if asked.cancelled() else asked.exception()
            if error is not None:
                done.set_exception(error)
                done.exception()  # seen: there may be nobody who waits
            else:
                done.set_result(None)

        asking = self._loop.create_task(self._ask("drop", sessions=sessions))
        asking.add_done_callback(answered)

    def close(self) -> None:
        """End the connection; without `bye` before it looks like a crash. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(KeeperGone("the connection to the keeper ended"))
        self._waiting.clear()
        for _, fds in self._lists.values():
            wire.close_all(fds)
        self._lists.clear()

    async def _ask(self, verb: str, **fields: object) -> _Answer:
        """Send a request; its answer with the descriptors. Raises KeeperError and OSError."""
        if not self._open:
            raise KeeperGone("the connection to the keeper ended")
        ref = next(self._refs)
        waiter: asyncio.Future[_Answer] = self._loop.create_future()
        self._waiting[ref] = waiter
        self._unsent.append({"ref": ref, "verb": verb, **fields})
        self._writable()
        try:
            told, fds = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                wire.close_all(waiter.result()[1])
            raise
        finally:
            self._waiting.pop(ref, None)
        if "error" in told:
            wire.close_all(fds)
            raise _error(told["error"])
        return told, fds

    def _writable(self) -> None:
        """Send what waits, as far as the keeper takes it."""
        try:
            while self._unsent:
                wire.send(self._sock, self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock.fileno(), self._writable)
            return
        except OSError:
            self._end_of_connection()
            return
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        while self._open:
            try:
                message, fds = wire.receive(self._sock)
            except BlockingIOError:
                return
            except (EOFError, OSError, ValueError):
                self._end_of_connection()
                return
            if "exited" in message:
                wire.close_all(fds)
                self._on_exited(*message["exited"])
            else:
                self._answered(message, fds)

    def _answered(self, message: Message, fds: _Fds) -> None:
        ref = message["ref"]
        held, kept = self._lists.pop(ref, ([], []))
        if "held" in message and isinstance(message["held"], list):
            message["held"] = held + message["held"]
        fds = kept + fds
        if message.get("more"):
            self._lists[ref] = (message["held"], fds)
            return
        waiter = self._waiting.pop(ref, None)
        if waiter is None or waiter.done():
            wire.close_all(fds)
        else:
            waiter.set_result((message, fds))

    def _end_of_connection(self) -> None:
        if self._open:
            self.close()
            self._on_gone()

    def _held(self, described: _Messages, fds: _Fds) -> _AllHeld:
        """Each description names its descriptors, which come in the same order."""
        coming = iter(fds)
        return [self._one(each, {name: next(coming) for name in each["fds"]}) for each in described]

    def _one(self, told: Message, fds: dict[str, int]) -> Held:
        containment = self._containment(told, fds)
        return Held(
            session=told["session"],
            generation=told["generation"],
            pid=told["pid"],
            started_at_ns=told["started_at_ns"],
            pidfd=fds["pidfd"],
            stdout=fds.get("stdout"),
            stderr=fds.get("stderr"),
            stdin=fds.get("stdin"),
            master=fds.get("master"),
            relay=_pair(fds, "relay"),
            input_relay=_pair(fds, "input"),
            journal=fds.get("journal"),
            containment=containment,
            status=told["status"],
        )

    def _containment(self, told: Message, fds: dict[str, int]) -> Containment:
        kind, cgroup = told["containment"]["kind"], told["containment"]["cgroup"]
        if kind == "cgroup":
            return CgroupContainment(cgroup)
        session, generation = told["session"], told["generation"]

        async def orphans(kill: bool) -> _Fds:
            answer, _ = await self._ask(
                "kill_orphans", session=session, generation=generation, kill=kill
            )
            pids: _Fds = answer["pids"]
            return pids

        shim_pid = told["containment"]["shim_pid"]
        return ShimContainment(kind, fds["control"], fds["shim"], shim_pid, orphans)


def _pair(fds: dict[str, int], name: str) -> tuple[int, int] | None:
    if f"{name}_read" not in fds:
        return None
    return fds[f"{name}_read"], fds[f"{name}_write"]


def _error(told: Message) -> Exception:
    """The exception an answer stands for."""
    if told["stage"]:
        return SpawnFailed(told["errno"], told["stage"], told["message"])
    if told["errno"]:
        return OSError(told["errno"], told["message"])
    return KeeperError(told["message"])

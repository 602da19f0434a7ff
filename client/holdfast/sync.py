"""The blocking twin: the same client, session and streams, without `async`.

    with holdfast.sync.connect() as hf:
        print(hf.run(["uname", "-a"]).stdout)

Each method runs its asynchronous original on a loop in a background thread; there is no second
implementation. Callbacks are called in that thread.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack

from holdfast import client as origin
from holdfast.backoff import PATIENCE_S
from holdfast.client import AttachAndCallbacks, StartAndCallbacks
from holdfast.options import Command, OutputQuery
from holdfast.portal import Portal
from holdfast.reader import Reader as AsyncReader
from holdfast.session import Session as AsyncSession
from holdfast.waiting import StepWait
from holdfast.wire import SessionCreated, SessionView
from holdfast.writer import Writer as AsyncWriter

__all__ = ["Client", "Reader", "Session", "Writer", "connect"]

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class Twin(Generic[A_co]):
    """The blocking side of an asynchronous object."""

    def __init__(self, portal: Portal, inner: A_co) -> None:
        self._portal = portal
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner)


def blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Twin[A], P], T]:
    """Return a method that runs `method` of the asynchronous object and waits for its end."""

    def call(self: Twin[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._portal.call(method(self._inner, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


def iterating(
    method: Callable[Concatenate[A, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Twin[A], P], Generator[T, None, None]]:
    """Return a method that yields what `method` of the asynchronous object yields."""

    def call(self: Twin[A], /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return self._portal.iterate(method(self._inner, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


class Reader(Twin[AsyncReader]):
    """One stream of output; iterating yields lines."""

    read = blocking(AsyncReader.read)
    readline = blocking(AsyncReader.readline)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


class Writer(Twin[AsyncWriter]):
    """The child's input. `write` and `close` return when the server has it."""

    def write(self, content: bytes) -> None:
        """Append to the input, exactly once through lost connections. Raises as `drain` does."""

        async def write() -> None:
            self._inner.write(content)
            await self._inner.drain()

        self._portal.call(write())

    def close(self) -> None:
        """End the input: the child reads end-of-file behind what was written."""

        async def close() -> None:
            self._inner.close()
            await self._inner.wait_closed()

        self._portal.call(close())


class Session(Twin[AsyncSession]):
    """A session, as `subprocess.Popen` shows a child. Leaving it detaches and never ends it."""

    refresh = blocking(AsyncSession.refresh)
    wait = blocking(AsyncSession.wait)
    wait_for = blocking(AsyncSession.wait_for)
    step = blocking(AsyncSession.step)
    send_signal = blocking(AsyncSession.send_signal)
    terminate = blocking(AsyncSession.terminate)
    kill = blocking(AsyncSession.kill)
    stop = blocking(AsyncSession.stop)
    restart = blocking(AsyncSession.restart)
    resize = blocking(AsyncSession.resize)
    detach = blocking(AsyncSession.detach)
    output = blocking(AsyncSession.output)
    follow = iterating(AsyncSession.follow)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    @property
    def id(self) -> str:
        """The ID, the same for the whole life of the session."""
        return self._inner.id

    @property
    def created(self) -> SessionCreated | None:
        """The server's answer to the start; None for a session that was attached to."""
        return self._inner.created

    @property
    def view(self) -> SessionView:
        """The server's last word."""
        return self._inner.view

    @property
    def pid(self) -> int | None:
        """The child's process ID on the server."""
        return self._inner.pid

    @property
    def returncode(self) -> int | None:
        """The status, -n for signal n; None while it runs, and when nobody knows."""
        return self._inner.returncode

    @property
    def exit_code(self) -> int | None:
        """The status, 128+n for signal n; None while it runs, and when nobody knows."""
        return self._inner.exit_code

    @property
    def outcome(self) -> str | None:
        """How it ended; None while it runs."""
        return self._inner.outcome

    @property
    def stdin(self) -> Writer | None:
        """The child's input; None when it has none."""
        writer = self._get(lambda: self._inner.stdin)
        return None if writer is None else Writer(self._portal, writer)

    @property
    def stdout(self) -> Reader:
        """The child's output; with a tty or combined stderr all of it."""
        return Reader(self._portal, self._get(lambda: self._inner.stdout))

    @property
    def stderr(self) -> Reader:
        """The child's errors."""
        return Reader(self._portal, self._get(lambda: self._inner.stderr))

    def _get(self, attribute: Callable[[], T]) -> T:
        """Read, on the loop, an attribute that begins to attach."""

        async def read() -> T:
            return attribute()

        return self._portal.call(read())


class Client(Twin[origin.Client]):
    """A connection to one daemon, kept through its restarts; a context manager."""

    node = blocking(origin.Client.node)
    create = blocking(origin.Client.create)
    exec = blocking(origin.Client.exec)
    get = blocking(origin.Client.get)
    page = blocking(origin.Client.page)
    list = blocking(origin.Client.list)
    patch = blocking(origin.Client.patch)
    remove = blocking(origin.Client.remove)
    prune = blocking(origin.Client.prune)
    stop = blocking(origin.Client.stop)
    kill = blocking(origin.Client.kill)
    signal = blocking(origin.Client.signal)
    restart = blocking(origin.Client.restart)
    resize = blocking(origin.Client.resize)
    timeout = blocking(origin.Client.timeout)
    receipt = blocking(origin.Client.receipt)
    wait_once = blocking(origin.Client.wait_once)
    send = blocking(origin.Client.send)
    step = blocking(origin.Client.step)
    output = blocking(origin.Client.output)
    create_token = blocking(origin.Client.create_token)
    shutdown = blocking(origin.Client.shutdown)
    run = blocking(origin.Client.run)
    run_many = blocking(origin.Client.run_many)
    event_page = blocking(origin.Client.event_page)
    stop_all = blocking(origin.Client.stop_all)
    logs = iterating(origin.Client.logs)
    log_lines = iterating(origin.Client.log_lines)
    events = iterating(origin.Client.events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detach from every session and close all connections."""
        try:
            self._portal.call(self._inner.close())
        finally:
            self._portal.close()

    def start(
        self,
        command: Command,
        *,
        wait: StepWait | None = None,
        read: OutputQuery | None = None,
        **options: Unpack[StartAndCallbacks],
    ) -> Session:
        """Start a command that outlives this client; see `holdfast.Client.start`."""
        started = self._inner.start(command, wait=wait, read=read, **options)
        session = self._portal.call(started)
        return Session(self._portal, session)

    def attach(self, ref: str, **options: Unpack[AttachAndCallbacks]) -> Session:
        """Return the session of that ID or name; see `holdfast.Client.attach`."""
        return Session(self._portal, self._portal.call(self._inner.attach(ref, **options)))


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    cacert: str | None = None,
    patience: float = PATIENCE_S,
) -> Client:
    """Return a blocking client, to be used with `with`; the arguments are `holdfast.connect`'s."""
    inner = origin.connect(url, token, cacert=cacert, patience=patience)
    return Client(Portal(), inner)

"""The client of one daemon: what `holdfast.connect` gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, Literal, Self, Unpack, cast

from holdfast.address import resolve
from holdfast.backoff import PATIENCE_S
from holdfast.calls import Calls
from holdfast.events import EventPage, follow_events
from holdfast.frames import Output, Stream
from holdfast.log_lines import LogGap, LogLine, follow_lines
from holdfast.logs import read_logs
from holdfast.options import (
    Command,
    EventFilters,
    ListFilters,
    LogFilters,
    OutputQuery,
    OutputStart,
    StartOptions,
)
from holdfast.result import Result
from holdfast.running import run, run_many
from holdfast.session import Session
from holdfast.streams import AttachOptions, Callbacks
from holdfast.transport import Call, Transport
from holdfast.waiting import StepWait
from holdfast.wire import EventView, ReceiptView

__all__ = ["AttachAndCallbacks", "Client", "StartAndCallbacks", "connect"]


class StartAndCallbacks(StartOptions, Callbacks, total=False):
    """What `start` takes besides the command."""


class AttachAndCallbacks(AttachOptions, Callbacks, total=False):
    """What `attach` takes besides the session."""


class Client(Calls):
    """A connection to one daemon, kept through its restarts; a context manager.

    Leaving it detaches from every session and ends none.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Detach from every session and close all connections."""
        await asyncio.gather(*(session.detach() for session in list(self.sessions)))
        await self.transport.close()

    async def run(
        self,
        command: Command,
        *,
        input: bytes | str | None = None,  # noqa: A002  (the name subprocess.run gave it)
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> Result:
        """Run a command to its end and return its status and whole output, as `subprocess.run`.

        A string goes through a shell, a list never does. All output is kept in memory here. Raises
        `SpawnFailed`; with `check` `CommandFailed` for a status other than 0; `TimedOut` when the
        daemon ended it after `timeout` seconds. Cancelling it stops the command.
        """
        content = input.encode() if isinstance(input, str) else input
        return await run(self, command, content, check=check, options=options)

    async def run_many(
        self,
        commands: Sequence[Command],
        *,
        concurrency: int = 8,
        stop_on_error: bool = False,
        **options: Unpack[StartOptions],
    ) -> list[Result]:
        """Run several commands, at most `concurrency` at once; results in their order.

        With `stop_on_error` no further one starts once one did not exit with 0, and the list has
        only those that ran.
        """
        return await run_many(
            self, commands, concurrency=concurrency, stop_on_error=stop_on_error, options=options
        )

    async def start(
        self,
        command: Command,
        *,
        wait: StepWait | None = None,
        read: OutputQuery | None = None,
        **options: Unpack[StartAndCallbacks],
    ) -> Session:
        """Start a command that outlives this client, and return its session.

        With an `id` or `name` that stands for the same command already, that session is returned.
        With callbacks it is attached to at once. With `wait` and `read`, `Session.created` holds
        what they came to. Raises as `create`.
        """
        callbacks = _callbacks_of(options)
        options.setdefault("stdin", "pipe")
        given = cast("StartOptions", options)
        created = await self.create(command, wait=wait, read=read, **given)
        attach: AttachOptions = {"offset": 0} if created.created else {}
        session = Session(self, created.session, attach=attach, callbacks=callbacks)
        session.created = created
        return session

    async def attach(self, ref: str, **options: Unpack[AttachAndCallbacks]) -> Session:
        """Return the session of that ID or name; output begins at the oldest byte kept.

        Raises `NotFound`. Whether the role can be had is known when something is read or written.
        """
        callbacks = _callbacks_of(options)
        view = await self.get(ref)
        return Session(self, view, attach=options, callbacks=callbacks)

    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        stream: Stream | None = None,
        **start: Unpack[OutputStart],
    ) -> AsyncGenerator[Output, None]:
        """Yield a session's output in order, to its present end, or with `follow` to the last.

        `start` is one of `offset`, `since`, `tail_lines`, `tail_bytes`; without it everything that
        is kept. Raises `Gap` for what the ring drops meanwhile.
        """
        return read_logs(self, ref, follow=follow, stream=stream, start=start)

    def log_lines(
        self, *sessions: str, follow: bool = False, **filters: Unpack[LogFilters]
    ) -> AsyncGenerator[LogLine | LogGap, None]:
        """Yield lines of many sessions by time, through restarts of the daemon.

        `sessions` are IDs or names; without them all that match `filters`, and with `follow` those
        that match later. A follow ends when the named sessions have. What a ring dropped is yielded
        as a `LogGap` at its place. Raises `NotFound`, `BadRequest`, `NotReachable`.
        """
        return follow_lines(self.transport, sessions, {**filters}, follow=follow)

    def events(
        self, after: int | None = None, **filters: Unpack[EventFilters]
    ) -> AsyncGenerator[EventView, None]:
        """Yield events behind `after`, by default from now on, through restarts of the daemon.

        `filters` are `type`, `label`, `name`, `session`; repeated values (a list) mean or. Raises
        `Gone` when events behind `after` are no longer kept: list again, go on at `event_cursor`.
        """
        return follow_events(self.transport, after, {**filters})

    async def event_page(
        self,
        after: int | None = None,
        limit: int | None = None,
        **filters: Unpack[EventFilters],
    ) -> EventPage:
        """Return events that happened already, the oldest behind `after` first."""
        query = {**filters, "after": after, "limit": limit}
        call = Call(method="GET", path="/v1/events", query=query)
        return await self.transport.ask(EventPage, call)

    async def stop_all(
        self, *, grace: float | None = None, **filters: Unpack[ListFilters]
    ) -> list[ReceiptView]:
        """Stop every living session that matches, all at once; return their receipts."""
        filters.setdefault("state", ["starting", "running", "stopping", "backoff"])
        living = await self.list(**filters)
        return await asyncio.gather(*(self.stop(one.id, grace=grace) for one in living))


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    cacert: str | None = None,
    patience: float = PATIENCE_S,
) -> Client:
    """Return a client for the daemon at `url`, to be used with `async with`.

    `url` is None (`$HOLDFAST_URL`, else this user's own daemon), `unix:///path`, `http://host:port`,
    `https://host`, or `ssh://[user@]host[:port]`, which runs `hold dial-stdio` there. `token`
    defaults to `$HOLDFAST_TOKEN` or the content of `$HOLDFAST_TOKEN_FILE`. `patience` bounds in
    seconds how long a daemon that answered before may be away. Nothing is sent before the first
    call.
    """
    address = resolve(url, token, cacert=cacert)
    return Client(Transport(address, patience_s=patience))


def _callbacks_of(options: Any) -> Callbacks:
    """Take the callbacks out of keyword arguments."""
    names: tuple[Literal["on_stdout", "on_stderr", "on_exit", "on_gap"], ...]
    names = ("on_stdout", "on_stderr", "on_exit", "on_gap")
    found: Any = {name: options.pop(name) for name in names if name in options}
    callbacks: Callbacks = found
    return callbacks

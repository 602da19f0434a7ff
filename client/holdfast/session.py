"""A session, as `asyncio.subprocess.Process` shows a child.

Rules
- Nothing is attached before something of the output or the input is asked for; `wait` does not
  depend on anybody reading.
- Leaving a session detaches and never ends it: a `wait` that is pending raises `Detached`.
- Output goes one way: to the readers and callbacks, or to one `follow`, or to `output`, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Literal, Self, Unpack, overload

from holdfast.calls import Calls
from holdfast.errors import Gap, TimedOut
from holdfast.frames import Output
from holdfast.options import ControlOptions, OutputQuery
from holdfast.reader import Reader
from holdfast.result import Result
from holdfast.sinks import Collector, Iteration, OutputSink
from holdfast.status import returncode_of
from holdfast.streams import AttachOptions, Callbacks, Streams
from holdfast.waiting import StepWait, WaitOptions, Wanted, wait_until
from holdfast.wire import (
    InputAccepted,
    ReceiptView,
    SessionCreated,
    SessionView,
    WaitResult,
)
from holdfast.writer import Writer

__all__ = ["Session"]


class Session:
    """A running or finished session, and this client's attachment to it.

    `view` is the server's last word. `returncode` is None while it runs, like `exit_code`
    (128+n for signal n) and `outcome`. `created` is the server's answer to the start, with what
    its `wait` and `read` came to; None for a session that was attached to.
    """

    def __init__(
        self,
        calls: Calls,
        view: SessionView,
        *,
        attach: AttachOptions | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.view = view
        self.created: SessionCreated | None = None
        self._calls = calls
        self._callbacks = callbacks or {}
        self._streams = Streams(calls.transport, view, attach or {}, self._callbacks, owner=self)
        calls.sessions.add(self)
        if self._callbacks:
            self._streams.open()

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.view.state} pid={self.pid} {self.view.command!r}>"

    @property
    def id(self) -> str:
        """The ID, the same for the whole life of the session."""
        return self.view.id

    @property
    def pid(self) -> int | None:
        """The child's process ID on the server; None before the first and after the last."""
        return self.view.pid

    @property
    def exit_code(self) -> int | None:
        """The status, 128+n for signal n; None while it runs, and when nobody knows."""
        return self._streams.ended.exit_code if self._streams.ended else self.view.exit_code

    @property
    def returncode(self) -> int | None:
        """The status, -n for signal n; None while it runs, and when nobody knows."""
        signal = self._streams.ended.signal if self._streams.ended else self.view.signal
        return returncode_of(self.exit_code, signal)

    @property
    def outcome(self) -> str | None:
        """How it ended; None while it runs."""
        return self._streams.ended.outcome if self._streams.ended else self.view.outcome

    @property
    def stdin(self) -> Writer | None:
        """The child's input; None when it has none."""
        return self._streams.writer

    @property
    def stdout(self) -> Reader:
        """The child's output; with a tty or combined stderr all of it."""
        return self._streams.reader("stdout")

    @property
    def stderr(self) -> Reader:
        """The child's errors."""
        return self._streams.reader("stderr")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.detach()

    async def refresh(self) -> SessionView:
        """Ask the server for the present view and return it."""
        self.view = await self._calls.get(self.id)
        return self.view

    async def wait(self) -> int | None:
        """Wait until the session has ended for good and return `returncode`.

        With callbacks it returns after the last of them. Raises `Detached` when this client leaves
        first; cancelling it ends nothing.
        """
        if self._callbacks:
            await self._streams.unless_left(asyncio.shield(self._streams.open()))
        if self._streams.ended is None:
            asked = wait_until(self._calls, self.id, Wanted(ended=True))
            result = await self._streams.unless_left(asked)
            self.view = result.session
        return self.returncode

    async def wait_for(
        self,
        *,
        timeout: float | None = None,
        from_offset: int | None = None,
        **wanted: Unpack[WaitOptions],
    ) -> WaitResult:
        """Wait for a line, a port, silence or a change: see `Wanted` for the words.

        Returns the answer with its `evidence`. Raises `TimedOut` after `timeout` seconds,
        `EndedFirst`, and `Detached`.
        """
        asked = wait_until(
            self._calls, self.id, Wanted(**wanted), timeout=timeout, from_offset=from_offset
        )
        result = await self._streams.unless_left(asked)
        self.view = result.session
        return result

    async def step(
        self,
        content: bytes | str = b"",
        *,
        wait: StepWait | None = None,
        read: OutputQuery | None = None,
    ) -> InputAccepted:
        """Send input, wait for what it causes, and read that: one round trip.

        As `Calls.step`, past an attachment's own `stdin`; `str` is sent as UTF-8.
        """
        given = content.encode() if isinstance(content, str) else content
        asked = self._calls.step(self.id, given, wait=wait, read=read)
        return await self._streams.unless_left(asked)

    async def send_signal(
        self, signal: str | int, *, target: str = "leader", **options: Unpack[ControlOptions]
    ) -> ReceiptView:
        """Send a signal to the `leader`, its `group`, or the `tree`."""
        return await self._calls.signal(self.id, signal, target=target, **options)

    async def terminate(self) -> ReceiptView:
        """Send SIGTERM to the leader."""
        return await self.send_signal("SIGTERM")

    async def kill(self, **options: Unpack[ControlOptions]) -> ReceiptView:
        """SIGKILL the whole tree; the receipt proves it gone or names the survivors."""
        return await self._calls.kill(self.id, **options)

    async def stop(
        self,
        *,
        signal: str | int | None = None,
        grace: float | None = None,
        **options: Unpack[ControlOptions],
    ) -> ReceiptView:
        """Ask the whole tree to end, and kill what is left after `grace` seconds."""
        return await self._calls.stop(self.id, signal=signal, grace=grace, **options)

    async def restart(self, **options: Unpack[ControlOptions]) -> ReceiptView:
        """Stop the child and start the next generation.

        A session that had ended was left by this client then: attach again to read on.
        """
        receipt = await self._calls.restart(self.id, **options)
        self._streams.ended = None
        await self.refresh()
        return receipt

    async def resize(self, rows: int, cols: int) -> ReceiptView:
        """Set the terminal's size in cells."""
        return await self._calls.resize(self.id, rows, cols)

    async def detach(self) -> None:
        """Leave; the session goes on. Readers and pending waits raise `Detached`."""
        await self._streams.detach()

    @overload
    def follow(self, *, on_gap: Literal["raise"] = "raise") -> AsyncGenerator[Output, None]: ...

    @overload
    def follow(self, *, on_gap: Literal["yield"]) -> AsyncGenerator[Output | Gap, None]: ...

    async def follow(
        self, *, on_gap: Literal["raise", "yield"] = "raise"
    ) -> AsyncGenerator[Output | Gap, None]:
        """Yield output of both streams in order, until the session has ended.

        A gap is raised as `Gap`, or yielded at its place. Leaving the iteration detaches nothing;
        what was not yielded is lost to this client.
        """
        sink = Iteration(self._streams.taken, yield_gaps=on_gap == "yield")
        self._streams.use(sink)
        while (item := await sink.next()) is not None:
            yield item

    async def output(self, *, timeout: float | None = None) -> Result:
        """Read everything to the end of the session; only once, a second call is a `TypeError`.

        Raises `Gap` when the ring dropped some of it, `TimedOut` after `timeout` seconds.
        """
        sink = Collector()
        try:
            async with asyncio.timeout(timeout):
                await self.collect(sink)
        except TimeoutError as error:
            if isinstance(error, TimedOut):
                raise
            raise TimedOut(f"{timeout} seconds are over") from error
        return self.result(sink.collected("stdout"), sink.collected("stderr"))

    async def collect(self, sink: OutputSink) -> None:
        """Give all output to `sink` and return at the end of the session; only once."""
        self._streams.use(sink)
        await self._streams.unless_left(asyncio.shield(self._streams.open()))

    def result(self, stdout: bytes = b"", stderr: bytes = b"") -> Result:
        """Return the end as a `Result` with the given output."""
        return Result(
            args=self.view.command,
            id=self.id,
            exit_code=self.exit_code,
            outcome=self.outcome or "lost",
            signal=self._streams.ended.signal if self._streams.ended else self.view.signal,
            stdout=stdout,
            stderr=stderr,
        )

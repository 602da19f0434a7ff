"""What one client shares with one session while attached: its output, its input, its end.

Rules
- Nothing is attached before `open`; the attachment is one task, and whoever waits for bytes or
  writes them is told when and why it ended.
- Output goes one way: to the readers and callbacks, or to one other sink, chosen once.
- Trouble with the input (another writer, a conflict) ends the input, not the output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypedDict, TypeVar

from holdfast.attachment import Attachment
from holdfast.errors import Detached, Gap, HoldfastError, InputLost, NotWriter, error_from
from holdfast.frames import (
    Attached,
    Ended,
    Frame,
    InputDropped,
    Missed,
    Output,
    Refused,
    Restarted,
    RoleChanged,
    Stream,
)
from holdfast.ids import new_id
from holdfast.protocol import AttachProtocol, OnSlow
from holdfast.reader import Reader
from holdfast.sinks import Callback, OutputSink, Readers, call
from holdfast.transport import Transport
from holdfast.wire import SessionView
from holdfast.writer import Writer

__all__ = ["AttachOptions", "Callbacks", "Streams"]

T = TypeVar("T")


class AttachOptions(TypedDict, total=False):
    """How a session is attached.

    `offset` is the first byte wanted (default: the oldest kept), `tail_bytes` counts from the end
    instead. Without a `role` the first client becomes the writer. `takeover` makes the present
    writer an observer. `on_slow` says what happens when this client reads too slowly.
    """

    offset: int | None
    tail_bytes: int | None
    role: Literal["writer", "observer"] | None
    takeover: bool
    on_slow: OnSlow


class Callbacks(TypedDict, total=False):
    """Functions, plain or async, that output and the status are given to, in order.

    `on_exit` gets `returncode`. `on_gap` is told of output that is no longer kept; without it such
    a gap ends the attachment, and `Session.wait` raises it.
    """

    on_stdout: Callback
    on_stderr: Callback
    on_exit: Callable[[int | None], object]
    on_gap: Callable[[Gap], None]


class Streams:
    """The attachment of one `Session`. `ended` is the last final exit that was heard of."""

    def __init__(
        self,
        transport: Transport,
        view: SessionView,
        options: AttachOptions,
        callbacks: Callbacks,
        owner: object,
    ) -> None:
        self.ended: Ended | None = None
        self.task: asyncio.Task[None] | None = None
        # While something runs here the session it belongs to is in use, whoever else forgot it.
        self._owner = owner
        self._id = view.id
        self._on_exit = callbacks.get("on_exit")
        self._protocol = AttachProtocol(new_id(), **_with_defaults(view, options))
        self._attachment = Attachment(transport, view.id, self._protocol, self._deliver)
        self._readers = Readers(self.taken, _by_stream(callbacks), callbacks.get("on_gap"))
        self._sink: OutputSink = self._readers
        self._used = bool(callbacks)
        self._writer = Writer(self._attachment) if view.input.open else None
        self._writing = False
        self._left = asyncio.Event()

    @property
    def writer(self) -> Writer | None:
        """The input, None when the session has none; asking for it attaches."""
        if self._writer is not None:
            self._writing = True
            self.open()
        return self._writer

    def reader(self, stream: Stream) -> Reader:
        """One stream of the output; asking for it attaches."""
        if self._sink is not self._readers:
            raise TypeError("the output of this session is being read already")
        self._used = True
        self.open()
        reader = self._readers.streams[stream]
        reader.wanted = True
        return reader

    def use(self, sink: OutputSink) -> None:
        """Give all output to `sink`. Raises TypeError when it goes elsewhere already."""
        if self._used:
            raise TypeError("the output of this session is being read already")
        self._used = True
        self._sink = sink
        self.open()

    def open(self) -> asyncio.Task[None]:
        """Attach, if that was not done; return the task that ends with the session."""
        if self.task is None:
            self.task = asyncio.create_task(self._run(), name=f"attachment to {self._id}")
            # Readers and writer are told why it ended; nobody needs to await the task.
            self.task.add_done_callback(lambda task: task.cancelled() or task.exception())
            if self._left.is_set():
                self.task.cancel()
        return self.task

    async def detach(self) -> None:
        """End the attachment; harmless when there is none."""
        self._left.set()
        if self.task is None:
            self._finish(self._detached())
            return
        self.task.cancel()
        await asyncio.wait({self.task})

    async def unless_left(self, work: Awaitable[T]) -> T:
        """Await `work`; raise `Detached` when this client leaves first."""
        doing = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not doing.cancelled():
                return doing.result()
            raise self._detached()
        finally:
            doing.cancel()
            leaving.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._attachment.run()
        except asyncio.CancelledError:
            self._finish(self._detached())
            raise
        except Exception as error:
            # The boundary of this task: whoever reads or writes gets the error.
            self._finish(error)
            raise
        self._finish(None)
        if self._on_exit is not None and self.ended is not None:
            await call(self._on_exit, self.ended.returncode)

    def _finish(self, failure: BaseException | None) -> None:
        self._sink.end(failure)
        if self._writer is not None:
            self._writer.end(failure)

    def _detached(self) -> Detached:
        return Detached(f"this client left session {self._id}, which goes on")

    async def _deliver(self, frame: Frame) -> None:
        match frame:
            case Output() | Missed():
                await self._sink.take(frame)
                self.taken()
            case Ended(final=True):
                self.ended = frame
            case Restarted():
                self.ended = None
            case _ if self._writer is not None:
                self._inform(self._writer, frame)

    def _inform(self, writer: Writer, frame: Frame) -> None:
        match frame:
            case Attached(role="observer") | RoleChanged(role="observer") if self._writing:
                writer.fail(NotWriter("another client writes to this session"))
            case InputDropped(from_=from_, to=to) if self._writing:
                writer.fail(InputLost(from_, to))
            case Refused(code=code, message=message, details=details):
                writer.fail(self._refusal(code, message, details))
        writer.progressed()

    def _refusal(self, code: str, message: str, details: Mapping[str, Any]) -> HoldfastError:
        """What became of refused input: of a child that closed its stdin it is just lost."""
        if code != "BAD_REQUEST":
            return error_from(code, message, details)
        journal = self._protocol.journal
        begin = max(journal.base or 0, details.get("next", 0))
        return InputLost(begin, (journal.base or 0) + len(journal))

    def taken(self) -> None:
        """Tell the server what the reader has, where that matters to it."""
        kept = self._sink.kept
        position = self._protocol.position or 0
        if self._protocol.taken(position if kept is None else kept):
            self._attachment.wake()


def _with_defaults(view: SessionView, given: AttachOptions) -> AttachOptions:
    options: AttachOptions = {"offset": view.output.oldest, **given}
    if options.get("tail_bytes") is not None:
        options["offset"] = None
    if view.output.on_full == "block":
        options.setdefault("on_slow", "block")
    return options


def _by_stream(callbacks: Callbacks) -> dict[Stream, Callback]:
    found: dict[Stream, Callback] = {}
    if "on_stdout" in callbacks:
        found["stdout"] = callbacks["on_stdout"]
    if "on_stderr" in callbacks:
        found["stderr"] = callbacks["on_stderr"]
    return found

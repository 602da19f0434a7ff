"""A session in the foreground: the caller's terminal or pipes, joined to it until one side leaves.

Rules
- What ends the command here (a key, a signal, a broken pipe) never ends the session, except where
  the session is the caller's own foreground command (`run`, `exec`): a second ctrl-c within two
  seconds, or a reader of its output that went away, stops it.
- The daemon may be killed and come back meanwhile: nothing is lost, repeated or noticed here. One
  that does not come back is told of after `TOLD_TRIES` tries, about two seconds.
- Whoever leaves a command of their own lets it run on without a reader: its output then drops the
  oldest instead of waiting (`on_full`).
- Every byte typed before a detach is confirmed before this command leaves (for `LEAVE_S` seconds).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.address import Address
from holdfast.attachment import Attachment
from holdfast.cli.connection import Connection
from holdfast.cli.escapes import HELP, EscapeKeys, Request
from holdfast.cli.exits import Exit, exit_of_session
from holdfast.cli.failure import Failure, say
from holdfast.cli.keyboard import Keyboard
from holdfast.cli.resolve import path_of
from holdfast.cli.screen import Screen
from holdfast.cli.terminal import RawTerminal, is_terminal, shown_on_terminal, terminal_size
from holdfast.errors import HoldfastError
from holdfast.frames import (
    Attached,
    Ended,
    Frame,
    InputAccepted,
    Live,
    Missed,
    Output,
    Restarted,
    RoleChanged,
)
from holdfast.ids import new_id
from holdfast.protocol import AttachProtocol
from holdfast.transport import Transport

__all__ = ["Join", "join"]

UNCONFIRMED_BYTES = 1024 * 1024  # of typed input; beyond that stdin is not read
SECOND_INTERRUPT_S = 2.0
LEAVE_S = 2.0
REDRAW_S = 0.5
TOLD_TRIES = 8
INTERRUPTED = 130
END_KEY = b"\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """How to join a session.

    `shown` is how a person would name it. `owns`: it is this command's own foreground child.
    `offset` or `tail_bytes` say where the replay begins. `escape` as in `EscapeKeys`, only used
    where stdin is a terminal. After `yield_s` seconds it is left, and its ID told.
    """

    session_id: str
    shown: str
    tty: bool
    owns: bool
    offset: int | None = 0
    tail_bytes: int | None = None
    role: Literal["writer", "observer"] | None = None
    takeover: bool = False
    lossless: bool = False
    stdin: bool = True
    redraw: bool = False
    escape: str | None = None
    yield_s: float | None = None


def join(address: Address, how: Join) -> int:
    """Stay until the session ends or the caller leaves; the exit code. Raises `HoldfastError`."""
    return asyncio.run(_Foreground(address.unasked(), how).run())


class _Foreground:
    def __init__(self, address: Address, how: Join) -> None:
        self.how = how
        self._transport = Transport(address)
        self._protocol = AttachProtocol(
            new_id(),
            offset=how.offset,
            tail_bytes=how.tail_bytes,
            role=how.role,
            takeover=how.takeover,
            on_slow="block" if how.lossless else "gap",
        )
        self._attachment = Attachment(
            self._transport, how.session_id, self._protocol, self._take, self._retrying
        )
        self._raw = how.tty and is_terminal(0)
        # Without a terminal of its own, an attached session still leaves ours by its keys.
        self._keyed = self._raw or (is_terminal(0) and not how.owns and how.stdin)
        self._screen = Screen(
            is_terminal=how.tty and is_terminal(1), cut_first_line=how.tail_bytes is not None
        )
        self._keys = EscapeKeys(how.escape)
        self._ended: Ended | None = None
        self._progress = asyncio.Event()  # something came from the daemon
        self._output = asyncio.Event()  # and it was output
        self._interrupted_at = float("-inf")
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Carry everything; the exit code."""
        self._leaving: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._keyboard = Keyboard(self._typed, self._has_room)
        with self._terminal(), self._signals():
            carrying = asyncio.create_task(self._carry())
            if self.how.stdin:
                self._keyboard.resume()
            if self.how.yield_s is not None:
                asyncio.get_running_loop().call_later(self.how.yield_s, self._yield)
            either: set[asyncio.Future[Any]] = {carrying, self._leaving}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            left = await self._leave(carrying)
        return self._last_words(left)

    async def _carry(self) -> None:
        try:
            await self._attachment.run()
        except OSError as error:
            if isinstance(error, HoldfastError):
                raise
            if self.how.owns:
                await self._stop_unread()
            if isinstance(error, BrokenPipeError):
                raise
            fate = "was stopped" if self.how.owns else "goes on"
            raise Failure(f"cannot write: {error.strerror}; {self.how.shown} {fate}") from error

    async def _leave(self, carrying: asyncio.Task[None]) -> int | None:
        """End all that runs here; the exit code of leaving, None when the session ended."""
        self._keyboard.close()
        left = self._leaving.result() if self._leaving.done() else None
        if not carrying.done():
            await self._confirmed()
        for task in [carrying, *self._background]:
            task.cancel()
        results = await asyncio.gather(carrying, *self._background, return_exceptions=True)
        if left is not None and self.how.lossless:
            await self._let_run()
        await self._transport.close()
        self._screen.close()
        if left is None and isinstance(results[0], BaseException):
            raise results[0]
        return left

    async def _let_run(self) -> None:
        """Nobody reads any more: the session is not to wait for us, if the daemon can be told."""
        from holdfast.calls import Calls

        with suppress(HoldfastError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await Calls(self._transport).patch(self.how.session_id, on_full="drop")

    def _yield(self) -> None:
        if not self._leaving.done():
            self._yielded = True
            self._go(Exit.STILL_RUNNING)

    _yielded = False

    async def _confirmed(self) -> None:
        """Wait until what was typed has arrived."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                while len(self._protocol.journal) and self._protocol.role == "writer":
                    self._progress.clear()
                    await self._progress.wait()

    def _last_words(self, left: int | None) -> int:
        if left is not None:
            known = f"still running as {self.how.session_id}"
            say(
                f"{known if self._yielded else 'the session goes on'}: hold attach {self.how.shown}"
            )
            if self._screen.is_writing:
                # The thread waits for a terminal that takes nothing; the interpreter would wait
                # for the thread.
                os._exit(left)
            return left
        assert self._ended is not None  # noqa: S101  (`run` returns after a final exit only)
        code = exit_of_session({"outcome": self._ended.outcome, "exit_code": self._ended.exit_code})
        if self._ended.outcome != "exited":
            say(f"{self.how.shown}: {self._message()}")
        return code

    def _message(self) -> str:
        """The record's sentence for the end; of a daemon that left meanwhile, the bare outcome."""
        connection = Connection(self._transport.address)
        try:
            return str(connection.get(path_of(self.how.session_id))["message"])
        except HoldfastError:
            assert self._ended is not None  # noqa: S101  (see `_last_words`)
            return self._ended.outcome.replace("_", " ")
        finally:
            connection.close()

    # What comes from the daemon.

    async def _take(self, frame: Frame) -> None:
        self._progress.set()
        match frame:
            case Output():
                self._output.set()
                await self._screen.show(frame)
                if self._protocol.taken(frame.offset + len(frame.data)):
                    self._attachment.wake()
            case InputAccepted():
                self._keyboard.resume()
            case Attached():
                await self._attached(frame)
            case Live():
                await self._live()
            case Missed(from_=begin, to=end, reason=reason):
                await self._talk(f"{end - begin} bytes of output are gone ({reason})")
            case RoleChanged(role=role):
                await self._talk(f"you are the {role} now")
            case Restarted(generation=generation):
                await self._talk(f"restarted, generation {generation}")
            case Ended():
                self._ended = frame
            case _:
                pass

    async def _attached(self, frame: Attached) -> None:
        if frame.role == "observer" and self.how.role != "observer":
            await self._talk("another client writes here, you are watching (--takeover to write)")
        size, session = terminal_size(), frame.session
        known = {"rows": session.size.rows, "cols": session.size.cols} if session.size else None
        self._needs_redraw = self.how.redraw and size == known
        if self._raw and size is not None and size != known:
            self._resize(size)

    _needs_redraw = False

    async def _live(self) -> None:
        await self._screen.live()
        if self._needs_redraw and self._raw and self._protocol.role == "writer":
            self._needs_redraw = False
            self._meanwhile(self._redraw())

    def _retrying(self, cause: BaseException, tries: int) -> None:
        if tries == TOLD_TRIES:
            self._meanwhile(self._talk(f"the daemon does not answer ({cause}); trying again"))

    def _meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside the rest; whoever leaves ends it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _redraw(self) -> None:
        """Make a full-screen program draw everything, by a size that is another and then not.

        It must see the first size before the second comes, or it sees no change at all: signals of
        one kind do not queue. Its output is the sign that it did.
        """
        size = terminal_size()
        if size is None:
            return
        other = {**size, "rows": size["rows"] - 1 or 2}
        self._resize(other)
        self._output.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(REDRAW_S):
                await self._output.wait()
        self._resize(size)

    # What comes from the caller.

    def _typed(self, content: bytes) -> None:
        if self._protocol.role == "observer" and not self._keyed:
            return
        if not content:
            self._end_of_stdin()
            return
        if self._keyed and not self._raw and END_KEY in content:
            content = content.replace(END_KEY, b"")
            say(f"the input stays open; hold send {self.how.shown} --eof ends it")
        for part in self._keys.feed(content) if self._keyed else [content]:
            if part is Request.DETACH:
                self._go(Exit.STILL_RUNNING if self.how.owns else Exit.OK)
            elif part is Request.HELP:
                self._meanwhile(self._talk("; ".join(HELP)))
            elif self._protocol.role != "observer":
                self._protocol.write(bytes(part))
        self._attachment.wake()

    def _end_of_stdin(self) -> None:
        """A pipe that ended ends the child's stdin when the child is ours; a terminal hung up."""
        if self._raw:
            self._go(Exit.STILL_RUNNING if self.how.owns else Exit.OK)
        elif self.how.owns:
            self._protocol.end_input()
            self._attachment.wake()

    def _has_room(self) -> bool:
        return len(self._protocol.journal) < UNCONFIRMED_BYTES

    def _interrupt(self) -> None:
        """Ctrl-c without a raw terminal."""
        if not self.how.owns:
            self._go(INTERRUPTED)
            return
        now = time.monotonic()
        if now - self._interrupted_at < SECOND_INTERRUPT_S:
            self._protocol.control("stop")
        else:
            self._protocol.control("signal", signal="SIGINT", target="group")
        self._interrupted_at = now
        self._attachment.wake()

    def _go(self, code: int) -> None:
        if not self._leaving.done():
            self._leaving.set_result(code)

    def _resized(self) -> None:
        size = terminal_size()
        if self._raw and size is not None and self._protocol.role == "writer":
            self._resize(size)

    def _resize(self, size: dict[str, int]) -> None:
        self._protocol.control("resize", **size)
        self._attachment.wake()

    async def _stop_unread(self) -> None:
        """Nobody reads what the child writes: end it as SIGPIPE would have."""
        from holdfast.calls import Calls

        await Calls(self._transport).stop(self.how.session_id, signal="SIGPIPE")

    async def _talk(self, line: str) -> None:
        if self._raw:
            await self._screen.say(shown_on_terminal(line))
        else:
            say(line)

    # The caller's terminal and signals.

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        if not self._keyed:
            yield
            return
        farewell = f"the session goes on: hold attach {self.how.shown}"
        undo = self._screen.modes.undo
        with RawTerminal(undo, self._resized, farewell, keys_only=not self._raw):
            yield

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGWINCH of a terminal, ctrl-c of a command without one."""
        loop = asyncio.get_running_loop()
        number, act = (
            (signal.SIGWINCH, self._resized) if self._raw else (signal.SIGINT, self._interrupt)
        )
        loop.add_signal_handler(number, act)
        try:
            yield
        finally:
            loop.remove_signal_handler(number)

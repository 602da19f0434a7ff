"""Where a session's output goes: the caller's stdout and stderr.

Rules
- Bytes go out unchanged, each stream to its own descriptor; only a replay on a terminal loses its
  queries, and its first, cut line.
- A descriptor that takes nothing does not stop the command: what may block is written by a thread,
  so that ctrl-c, resizing and detaching go on.
"""

from __future__ import annotations

import asyncio
import os
import select
from concurrent.futures import ThreadPoolExecutor

from holdfast.cli.modes import TerminalModes
from holdfast.cli.replay import QueryFilter
from holdfast.frames import Output

__all__ = ["Screen"]

STDOUT, STDERR = 1, 2
AT_ONCE_BYTES = select.PIPE_BUF  # poll(2) promises room for as much in a pipe


class Screen:
    """Takes output in order. `is_terminal`: stdout is one, and the session has one too.

    With `cut_first_line` the replay began in the middle of a line, which is left out.
    """

    def __init__(self, *, is_terminal: bool, cut_first_line: bool = False) -> None:
        self.modes = TerminalModes()
        self.is_writing = False
        self._is_terminal = is_terminal
        self._queries = QueryFilter() if is_terminal else None
        self._cutting = cut_first_line
        self._writer = ThreadPoolExecutor(1, "screen")

    async def show(self, output: Output) -> None:
        """Write one piece of output. Raises `BrokenPipeError` when nobody reads any more."""
        content = output.data
        if self._cutting:
            content = self._without_cut_line(output)
        if self._queries is not None:
            content = self._queries.feed(content)
        await self._write(STDERR if output.stream == "stderr" else STDOUT, content)

    async def live(self) -> None:
        """From here on the output is new: queries in it are meant for this terminal."""
        self._cutting = False
        if self._queries is not None:
            held, self._queries = self._queries.end(), None
            await self._write(STDOUT, held)

    async def say(self, content: bytes) -> None:
        """Write talk, on stderr."""
        await self._write(STDERR, content)

    def close(self) -> None:
        """Let the thread end; it is not waited for."""
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _without_cut_line(self, output: Output) -> bytes:
        if output.offset == 0:
            self._cutting = False
            return output.data
        _, newline, rest = output.data.partition(b"\n")
        self._cutting = not newline
        return rest

    async def _write(self, fd: int, content: bytes) -> None:
        if not content:
            return
        if self._is_terminal:
            self.modes.feed(content)
        if len(content) <= AT_ONCE_BYTES and _has_room(fd):
            rest = content[os.write(fd, content) :]
        else:
            rest = content
        if rest:
            self.is_writing = True
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._writer, _write_all, fd, rest)
            self.is_writing = False


def _has_room(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody else made the shared terminal non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()

"""Reads the caller's stdin, of whatever kind it is, as fast as the session takes it.

Rules
- The descriptor stays blocking: O_NONBLOCK would be set for everyone who shares the terminal, the
  caller's shell too. It is read only when readable; a file that epoll(7) refuses (EPERM) always is.
- While `has_room` says no, nothing is read: the caller's pipe fills, not this process' memory.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

__all__ = ["Keyboard"]

READ_BYTES = 64 * 1024


class Keyboard:
    """Pumps stdin into `typed`; b"" once at its end. `resume` when there may be room again."""

    def __init__(
        self, typed: Callable[[bytes], None], has_room: Callable[[], bool], fd: int = 0
    ) -> None:
        self._typed = typed
        self._has_room = has_room
        self._fd = fd
        self._watched = False
        self._ended = False
        self._is_file = False
        self._loop = asyncio.get_running_loop()

    def resume(self) -> None:
        """Read on, if not reading and there is room; also how reading begins."""
        if self._ended or self._watched or not self._has_room():
            return
        self._watched = True
        try:
            self._loop.add_reader(self._fd, self._read)
        except PermissionError:
            self._is_file = True
            self._loop.call_soon(self._read)
        except OSError:  # closed by the caller
            self._end()

    def close(self) -> None:
        """Read no more."""
        self._ended = True
        self._unwatch()

    def _read(self) -> None:
        if self._ended:
            return
        try:
            content = os.read(self._fd, READ_BYTES)
        except OSError:  # a terminal that hung up
            content = b""
        if not content:
            self._end()
            return
        self._typed(content)
        if not self._has_room():
            self._unwatch()
        elif self._is_file:
            self._loop.call_soon(self._read)

    def _end(self) -> None:
        self.close()
        self._typed(b"")

    def _unwatch(self) -> None:
        self._watched = False
        if not self._is_file:
            self._loop.remove_reader(self._fd)

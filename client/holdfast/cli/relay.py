"""Joins a pair of descriptors with a socket, both ways at once, until one side leaves.

Rules
- Bytes pass unchanged; at most `HELD_BYTES` of each direction are held, so a slow reader slows the
  writer down.
- The end of one direction is passed on as an end of that direction alone (a half-close).
- It is over when both directions have ended, when the socket's peer is gone altogether, or when
  nobody reads the output any more.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

__all__ = ["relay"]

HELD_BYTES = 256 * 1024
GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class _Way:
    """One direction. `end` passes its end on."""

    def __init__(self, source: int, target: int, end: Callable[[], None]) -> None:
        self.source, self.target = source, target
        self._end = end
        self._held = b""
        self._ended = False
        self.over = False

    def interest(self) -> dict[int, int]:
        """What to poll for."""
        if self.over:
            return {}
        if self._held:
            return {self.target: select.POLLOUT}
        return {self.source: select.POLLIN}

    def step(self, ready: dict[int, int]) -> None:
        """Read or write once, where that is possible now. Raises `OSError` of a broken side."""
        if self.over:
            return
        with suppress(BlockingIOError):
            if not self._held and ready.get(self.source, 0) & READABLE:
                self._held = os.read(self.source, HELD_BYTES)
                self._ended = not self._held
            if self._held:
                self._held = self._held[os.write(self.target, self._held) :]
        if self._ended:
            self.over = True
            self._end()


def relay(source: int, target: int, connection: socket.socket) -> None:
    """Pass `source` to the connection, and the connection to `target`, until it is over.

    The descriptors may be the same socket. They do not block meanwhile.
    """
    fds = {source, target}
    was = {fd: os.get_blocking(fd) for fd in fds}
    connection.settimeout(0)
    for fd in fds:
        os.set_blocking(fd, False)
    there = connection.fileno()
    up = _Way(source, there, lambda: _shut(connection))
    down = _Way(there, target, lambda: _end_output(source, target))
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            while not (up.over and down.over):
                ready = _poll(up, down, there)
                # Gone altogether: nothing that comes from the source can still arrive.
                if down.over and ready.get(there, 0) & GONE:
                    return
                if not down.over and ready.get(target, 0) & GONE and target != source:
                    return
                up.step(ready)
                down.step(ready)
    finally:
        for fd in fds:
            with suppress(OSError):
                os.set_blocking(fd, was[fd])


def _poll(up: _Way, down: _Way, there: int) -> dict[int, int]:
    """Wait for something to do; errors and hang-ups of the watched are told in any case."""
    poller = select.poll()
    wanted: dict[int, int] = {there: 0}
    if not down.over:
        wanted[down.target] = 0
    for way in (up, down):
        for fd, events in way.interest().items():
            wanted[fd] = wanted.get(fd, 0) | events
    for fd, events in wanted.items():
        poller.register(fd, events)
    return dict(poller.poll())


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # the peer may be gone already
        connection.shutdown(socket.SHUT_WR)


def _end_output(source: int, target: int) -> None:
    """Let the reader of the output see its end, also where it is the socket that we read from."""
    if stat.S_ISSOCK(os.fstat(target).st_mode):
        with socket.socket(fileno=os.dup(target)) as output, suppress(OSError):
            output.shutdown(socket.SHUT_WR)
    elif target != source:  # a pipe or a file: there is no half of it to close
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)

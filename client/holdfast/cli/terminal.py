r"""The caller's terminal in raw mode, and the ways back out of it.

Rules
- Whatever ends the command, the terminal is as it was: an exception, SIGTERM, SIGHUP, SIGQUIT or
  SIGINT (after which the command dies of that very signal), SIGTSTP and back. SIGKILL alone cannot
  be answered; `reset` is for that.
- The handlers do all of it themselves and at once. They must work while the event loop waits for a
  terminal that takes no more output, so nothing is left for the loop to do.
- In raw mode the keys are the child's: ctrl-c, ctrl-z and ctrl-\ are typed, not obeyed.
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["RawTerminal", "is_terminal", "shown_on_terminal", "terminal_size"]

STDIN, STDOUT, STDERR = 0, 1, 2
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)


def is_terminal(fd: int) -> bool:
    """Whether the descriptor is open and a terminal."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def terminal_size() -> dict[str, int] | None:
    """Rows and columns of the terminal, None where there is none or it does not say."""
    for fd in (STDIN, STDOUT, STDERR):
        with suppress(OSError):
            cols, rows = os.get_terminal_size(fd)
            if rows and cols:
                return {"rows": rows, "cols": cols}
    return None


class RawTerminal:
    """A context in which stdin is a raw terminal. `undo` gives what to write on leaving.

    `resumed` is called when the command was stopped and goes on, with the terminal raw again.
    With `keys_only` it is not raw: each key comes at once, and echo and ctrl-c stay.
    `farewell` is the line that stands on stderr when a signal ends the command.
    """

    def __init__(
        self,
        undo: Callable[[], bytes],
        resumed: Callable[[], None],
        farewell: str,
        *,
        keys_only: bool = False,
    ) -> None:
        self._keys_only = keys_only
        self._undo = undo
        self._resumed = resumed
        self._farewell = farewell
        self._saved: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._saved = termios.tcgetattr(STDIN)
        for number in ENDING:
            self._handlers[number] = signal.signal(number, self._die)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        self._set()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _restore(self) -> None:
        """Give the terminal back; harmless when it is gone (SIGHUP) or given back already."""
        if self._saved is None:
            return
        if is_terminal(STDOUT):
            _write_now(STDOUT, self._undo())
        with suppress(termios.error):
            # TCSANOW: TCSADRAIN would wait for a terminal that takes no more output.
            termios.tcsetattr(STDIN, termios.TCSANOW, self._saved)

    def _die(self, number: int, _frame: FrameType | None) -> None:
        self._restore()
        _write_now(STDERR, f"\nhold: {self._farewell}\n".encode())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._set()
        self._resumed()

    def _set(self) -> None:
        if not self._keys_only:
            tty.setraw(STDIN, termios.TCSADRAIN)
            return
        modes = termios.tcgetattr(STDIN)
        modes[3] &= ~termios.ICANON
        modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(STDIN, termios.TCSADRAIN, modes)


def _write_now(fd: int, content: bytes) -> None:
    """Write what a terminal takes at once; on the way out nothing may wait for it."""
    was = None
    with suppress(OSError):
        was = os.get_blocking(fd)
        os.set_blocking(fd, False)
        os.write(fd, content)
    if was is not None:
        with suppress(OSError):
            os.set_blocking(fd, was)


def shown_on_terminal(line: str) -> bytes:
    """A line of talk in the middle of a raw terminal's output, on lines of its own."""
    return f"\r\n[hold: {line}]\r\n".encode()

"""A screen that is drawn again and again in place, for `hold top` and `hold ls --watch`.

Rules
- It is the terminal's second screen: on leaving, what stood there before is there again.
- Ctrl-c, SIGTERM and SIGHUP end it, and give the terminal back first.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

__all__ = ["Draw", "drawn_again", "screen_lines"]

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
ENDING = (signal.SIGTERM, signal.SIGHUP)

Draw = Callable[[int], list[str]]
"""The lines to show on a terminal of so many columns."""


class _EndedBy(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def drawn_again(draw: Draw, interval_s: float, count: int | None) -> int:
    """Draw every `interval_s` seconds, `count` times or until it is ended; the exit code.

    Ctrl-c is the way to end it and exits with 0, a signal with 128 and its number.
    """
    try:
        with _second_screen():
            while True:
                size = shutil.get_terminal_size()
                click.echo("".join(screen_lines(draw(size.columns), size.lines)), nl=False)
                count = None if count is None else count - 1
                if count == 0:
                    return 0
                time.sleep(interval_s)
    except KeyboardInterrupt:
        return 0
    except _EndedBy as ended:
        return 128 + ended.number


def screen_lines(lines: list[str], rows: int) -> Iterator[str]:
    """What draws the lines over the ones before; those that do not fit are counted instead."""
    yield HOME
    if len(lines) > rows:
        lines = [*lines[: rows - 1], f"... {len(lines) - rows + 1} more"]
    for place, line in enumerate(lines):
        yield ("\r\n" if place else "") + line + CLEAR_LINE
    yield CLEAR_BELOW


@contextmanager
def _second_screen() -> Iterator[None]:
    former = {number: signal.signal(number, _end) for number in ENDING}
    try:
        click.echo(ENTER, nl=False)
        yield
    finally:
        click.echo(LEAVE, nl=False)
        sys.stdout.flush()
        for number, handler in former.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise _EndedBy(number)

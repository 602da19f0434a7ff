"""Lines of one or many sessions for `hold logs`: read through restarts, printed with their names.

Rules
- A line of stdout goes to stdout, one of stderr to stderr, both as bytes.
- With `names` the session's name stands before each line, in a colour of its own where that stream
  is a terminal and NO_COLOR is not set; then a colour that a line leaves on ends with it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from holdfast.backoff import Backoff
from holdfast.cli.connection import lines_of
from holdfast.cli.failure import say
from holdfast.cli.table import escaped
from holdfast.errors import NotReachable
from holdfast.log_place import LogPlace

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["LinePrinter", "print_json_lines", "told_lines"]

Told = dict[str, Any]

_COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # SGR foregrounds, red left out
_RESET: Final = b"\x1b[m"


def told_lines(connection: Connection, query: dict[str, Any]) -> Iterator[Told]:
    """Each line and gap once, also over restarts of the daemon. `query` is that of /v1/logs."""
    place, backoff = LogPlace(query), Backoff()
    ends = bool(query.get("session")) or not query.get("follow")
    while True:
        try:
            with connection.stream("/v1/logs", place.query) as response:
                for content in lines_of(response):
                    backoff.reset()
                    told = json.loads(content)
                    if place.take(told):
                        yield told
            if ends:
                return
            raise NotReachable("the stream of lines ended")
        except NotReachable:
            delay = backoff.delay() if connection.was_reached else None
            if delay is None:
                raise
            time.sleep(delay)


def print_json_lines(lines: Iterator[Told]) -> None:
    """Each line and gap as the daemon told it, but for the cursor."""
    for told in lines:
        click.echo(json.dumps({key: told[key] for key in told if key != "cursor"}))


class LinePrinter:
    """Writes lines to this process' own stdout and stderr."""

    def __init__(self, *, names: bool, timestamps: bool, safe: bool) -> None:
        self._names = names
        self._timestamps = timestamps
        self._safe = safe
        self._colours: dict[str, int] = {}
        self._width = 0
        coloured = not os.environ.get("NO_COLOR")
        self._files = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._coloured = {
            stream: names and coloured and file.isatty() for stream, file in self._files.items()
        }

    def show(self, told: Told) -> None:
        """Write one line or name a gap. Raises `BrokenPipeError` when nobody reads any more."""
        if gap := told.get("gap"):
            who = f"{gap['name'] or gap['session']}: " if self._names else ""
            say(f"{who}{gap['to'] - gap['from']} bytes of output are no longer kept")
            return
        content = base64.b64decode(told["line"])
        if self._safe:
            content = escaped(content.decode(errors="backslashreplace")).encode()
        if self._timestamps:
            content = f"{told['time']} ".encode() + content
        if self._names:
            content = self._prefix(told) + content
        if self._coloured[told["stream"]]:
            content += _RESET
        if self._names or not told.get("partial"):
            content += b"\n"
        view = memoryview(content)
        while view:
            view = view[os.write(self._files[told["stream"]].fileno(), view) :]

    def _prefix(self, told: Told) -> bytes:
        name = escaped(told["name"] or told["session"])
        self._width = max(self._width, len(name))
        prefix = f"{name:{self._width}} | ".encode()
        if not self._coloured[told["stream"]]:
            return prefix
        place = self._colours.setdefault(told["session"], len(self._colours))
        return b"\x1b[%dm%b%b" % (_COLOURS[place % len(_COLOURS)], prefix, _RESET)

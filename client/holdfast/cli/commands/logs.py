"""hold logs: what a session printed, and prints."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from holdfast.backoff import Backoff
from holdfast.cli.arguments import json_option, label_option, sessions_argument
from holdfast.cli.connection import lines_of
from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation
from holdfast.cli.log_lines import LinePrinter, print_json_lines, told_lines
from holdfast.cli.resolve import path_of, session_of
from holdfast.cli.table import escaped
from holdfast.errors import Gone, NotReachable

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["Printer", "logs_command", "since_of"]

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Piece = dict[str, Any]


@click.command("logs")
@sessions_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on until they have ended for good.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last lines of each.")
@click.option("--since", metavar="TIME", help="From a time on: RFC 3339, or 90s, 10m, 2h, 1d ago.")
@click.option("--previous", is_flag=True, help="What the child before this one printed.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this one.")
@click.option("--grep", metavar="RE", help="Only lines that match (RE2, linear time).")
@click.option("--context", type=click.IntRange(0, 100), metavar="N", help="Lines around a match.")
@click.option("--clean", metavar="WORDS", help="ansi: no escape sequences; cr: progress bars as "
              "their last state; or ansi,cr.")  # fmt: skip
@label_option("All sessions with this label, with -f also those that start later.")
@click.option("-a", "--all", "every", is_flag=True, help="All sessions, with -f also later ones.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--safe", is_flag=True, help="Escape control characters.")
@json_option
@click.pass_obj
def logs_command(
    invocation: Invocation,
    /,
    sessions: tuple[str, ...],
    labels: tuple[str, ...],
    *,
    every: bool,
    timestamps: bool,
    safe: bool,
    **asked: Any,
) -> None:
    """Print what sessions printed: their stdout to stdout, their stderr to stderr.

    One session: unchanged. Several, or -l or -a: by time, each line behind its session's name.
    """
    _check_chosen(sessions, labels, every=every)
    filters = {name: asked.pop(name) for name in ("grep", "context", "clean")}
    by_line = invocation.as_json or any(value is not None for value in filters.values())
    one = sessions[0] if len(sessions) == 1 and not by_line else None
    query = _query(**asked) if one is not None else _lines_query(**asked) | filters
    connection = invocation.connect()
    if one is not None:
        printer = Printer(timestamps=timestamps, safe=safe)
        for piece in pieces(connection, session_of(connection, one)["id"], query):
            printer.show(piece)
        printer.end()
        return
    ids = [session_of(connection, ref)["id"] for ref in sessions]
    chosen = {"session": ids, "label": labels, "encoding": None if invocation.as_json else "base64"}
    lines = told_lines(connection, query | chosen)
    if invocation.as_json:
        print_json_lines(lines)
        return
    by_name = LinePrinter(names=len(ids) != 1, timestamps=timestamps, safe=safe)
    for told in lines:
        by_name.show(told)


def _check_chosen(sessions: tuple[str, ...], labels: tuple[str, ...], *, every: bool) -> None:
    if sessions and (labels or every):
        raise click.UsageError("name sessions, or give -l or -a, not both")
    if not (sessions or labels or every):
        raise click.UsageError("name a session, or give -l K=V or -a")


def _lines_query(
    *, follow: bool, lines: int | None, since: str | None, previous: bool, stream: str | None
) -> dict[str, Any]:
    """The query of the route for many sessions; raises UsageError."""
    if previous:
        raise click.UsageError("--previous is for one session, without filters and --json")
    if lines is not None and since is not None:
        raise click.UsageError("give -n or --since, not both")
    begin = since and since_of(since, datetime.now(UTC))
    return {"tail_lines": lines, "since": begin, "stream": stream, "follow": follow}


def _query(
    *, follow: bool, lines: int | None, since: str | None, previous: bool, stream: str | None
) -> dict[str, Any]:
    """The query of the output route; raises UsageError."""
    if lines is not None and since is not None:
        raise click.UsageError("give -n or --since, not both")
    if previous and (follow or lines is not None or since is not None):
        raise click.UsageError("--previous is over: give none of -f, -n and --since with it")
    query = {"tail_lines": lines, "since": since and since_of(since, datetime.now(UTC))}
    if lines is None and since is None:
        query["offset"] = 0  # said aloud, a beginning that is no longer kept is refused, and told
    if previous:
        query["previous"] = True
    return query | {"stream": stream, "follow": follow, "format": "jsonl", "encoding": "base64"}


def since_of(text: str, now: datetime) -> str:
    """A time as the daemon reads it, from RFC 3339 or from `90s`, `10m`, `2h`, `1d` ago."""
    number, unit = text[:-1], text[-1:]
    if unit in UNITS_S and number.isdecimal():
        return (now - timedelta(seconds=int(number) * UNITS_S[unit])).isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--since {text!r}: a time, or 90s, 10m, 2h, 1d") from error
    return moment.astimezone().isoformat()


def pieces(connection: Connection, session_id: str, query: dict[str, Any]) -> Iterator[Piece]:
    """Each piece of output once and in order, also over restarts of the daemon."""
    backoff = Backoff()
    while True:
        try:
            with connection.stream(path_of(session_id, "output"), query) as response:
                for line in lines_of(response):
                    backoff.reset()
                    piece = json.loads(line)
                    query = _after(query, piece)
                    yield piece
            return
        except Gone as error:
            oldest = error.details["oldest"]
            yield {"gap": {"from": query.get("offset", 0), "to": oldest}}
            query = _from(query, oldest)
        except NotReachable:
            delay = backoff.delay() if connection.was_reached else None
            if delay is None:
                raise
            time.sleep(delay)


def _after(query: dict[str, Any], piece: Piece) -> dict[str, Any]:
    """The query that goes on behind this piece."""
    if "gap" in piece:
        return _from(query, piece["gap"]["to"])
    size = len(piece["text"]) * 3 // 4 - piece["text"][-2:].count("=")
    return _from(query, piece["offset"] + size)


def _from(query: dict[str, Any], offset: int) -> dict[str, Any]:
    return {**query, "tail_lines": None, "since": None, "offset": offset}


class Printer:
    """Writes pieces of output to this process' own stdout and stderr.

    Unchanged, they go out as they come. With times, or safe, a line goes out when it is whole, or
    at the end.
    """

    def __init__(self, *, timestamps: bool, safe: bool) -> None:
        self._timestamps = timestamps
        self._safe = safe
        self._unfinished: dict[str, tuple[str, bytes]] = {}

    def show(self, piece: Piece) -> None:
        """Write one piece. Raises `BrokenPipeError` when nobody reads any more."""
        if gap := piece.get("gap"):
            say(f"{gap['to'] - gap['from']} bytes of output are no longer kept")
            return
        stream, content = piece["stream"], base64.b64decode(piece["text"])
        if not (self._timestamps or self._safe):
            _write(stream, content)
            return
        began, before = self._unfinished.pop(stream, (piece["time"], b""))
        *whole, rest = (before + content).split(b"\n")
        for line in whole:
            _write(stream, self._line(began, line) + b"\n")
            began = piece["time"]
        if rest:
            self._unfinished[stream] = began, rest

    def end(self) -> None:
        """Write the lines that never ended."""
        for stream, (began, line) in self._unfinished.items():
            _write(stream, self._line(began, line))
        self._unfinished.clear()

    def _line(self, time_: str, line: bytes) -> bytes:
        if self._safe:
            line = escaped(line.decode(errors="backslashreplace")).encode()
        return f"{time_} ".encode() + line if self._timestamps else line


def _write(stream: str, content: bytes) -> None:
    fd = sys.stderr.fileno() if stream == "stderr" else sys.stdout.fileno()
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]

"""hold ls: the sessions, and how they are."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import json_option, pairs, print_json
from holdfast.cli.invocation import Invocation, shows_colour
from holdfast.cli.live_screen import Draw, drawn_again
from holdfast.cli.select import ALIVE, ENDED
from holdfast.cli.table import age, amount, cpu_time, render

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["command_of", "ls_command", "ports_of"]

HEADER = (
    "NAME", "ID", "STATE", "UP/ENDED", "PORTS", "CPU", "MEM", "LAST-OUTPUT", "NODE", "COMMAND",
)  # fmt: skip
PORTS_SHOWN = 4
SHOWN_AFTER_END = timedelta(hours=1)


@click.command("ls")
@click.option("-a", "--all", "all_", is_flag=True, help="Also those that ended long ago.")
@click.option("-q", "--quiet", is_flag=True, help="IDs only.")
@click.option("--filter", "filters", multiple=True, metavar="K=V",
              help="state, outcome, label, name, kind, node, ... (repeated: or).")  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), metavar="N",
              help="Only the session that listens on this port.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Show it again and again, until ctrl-c.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True,
              metavar="S", help="Seconds between two looks of --watch.")  # fmt: skip
@json_option
@click.pass_obj
def ls_command(
    invocation: Invocation,
    /,
    all_: bool,
    quiet: bool,
    filters: tuple[str, ...],
    port: int | None,
    watch: bool,
    interval: float,
) -> int:
    """List live sessions, and those that ended within the hour.

    CPU and MEM are what all processes of the session used since its start, and take now.
    """
    if watch and quiet:
        raise click.UsageError("--watch shows a table; give it without -q")
    query = filters_of(filters)
    if port is not None:
        query["port"] = [str(port)]
    connection = invocation.connect()

    def look(*, usage: bool = True) -> list[dict[str, Any]]:
        asked = {**query, "usage": ["true"]} if usage else query
        return listed(connection, asked, None if all_ else datetime.now(UTC))

    def lines(columns: int | None) -> list[str]:
        return table(look(), datetime.now(UTC), columns, faint=shows_colour())

    if watch:
        return _watch(look, lines, interval, as_json=invocation.as_json)
    if invocation.as_json:
        print_json(look(usage=False))
    elif quiet:
        click.echo("".join(f"{one['id']}\n" for one in look(usage=False)), nl=False)
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo("\n".join(lines(columns)))
    return 0


def _watch(
    look: Callable[[], list[dict[str, Any]]], lines: Draw, interval_s: float, *, as_json: bool
) -> int:
    """Draw in place; with --json one array a line."""
    if as_json:
        try:
            while True:
                click.echo(json.dumps(look()))
                sys.stdout.flush()
                time.sleep(interval_s)
        except KeyboardInterrupt:
            return 0
    if not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; with --json it prints a line each time")
    return drawn_again(lines, interval_s, None)


def filters_of(words: Iterable[str]) -> dict[str, list[str]]:
    """`K=V` words as query fields; a field given twice means either."""
    query: dict[str, list[str]] = {}
    for word in words:
        for key, value in pairs([word], "--filter").items():
            query.setdefault(key, []).append(value)
    return query


def listed(
    connection: Connection, query: dict[str, list[str]], now: datetime | None
) -> list[dict[str, Any]]:
    """The live ones first, then the ended ones (since an hour before `now`), newest end first.

    With a filter of the state, that alone decides.
    """
    if now is None or "state" in query:
        sessions = list(connection.sessions(query))
    else:
        since = (now - SHOWN_AFTER_END).isoformat()
        sessions = list(connection.sessions({**query, "state": ALIVE}))
        sessions += connection.sessions({**query, "state": ENDED, "ended_since": since})
    live = [session for session in sessions if is_live(session)]
    ended = [session for session in sessions if not is_live(session)]
    return live + sorted(ended, key=lambda session: str(session["ended_at"]), reverse=True)


def is_live(session: dict[str, Any]) -> bool:
    """Whether a process of it may be running, or is to be started."""
    return session["state"] in ALIVE


def table(
    sessions: list[dict[str, Any]], now: datetime, columns: int | None, *, faint: bool
) -> list[str]:
    """The lines of the table; ended ones faint where that is wanted."""
    rows = [row_of(session, now) for session in sessions]
    dim = [not is_live(session) for session in sessions] if faint else []
    return render(HEADER, rows, columns=columns, dim=dim)


def row_of(session: dict[str, Any], now: datetime) -> list[str]:
    """The cells of one session."""
    usage = session.get("usage")
    since = session["started_at"] if is_live(session) else session["ended_at"]
    return [
        session["name"] or "-",
        session["id"],
        state_of(session),
        age(since, now) + ("" if is_live(session) or since is None else " ago"),
        ports_of([one["port"] for one in session["ports"]]),
        cpu_time(usage["cpu_seconds"] if usage else None),
        amount(usage["memory_bytes"] if usage and is_live(session) else None),
        age(session["last_output_at"], now),
        session["node"],
        command_of(session["command"], session["shell"]),
    ]


def state_of(session: dict[str, Any]) -> str:
    """The state; of an ended session what became of it, with the exit code."""
    if session["state"] != "exited":
        return str(session["state"])
    code = session["exit_code"]
    return f"{session['outcome']}" + (f" {code}" if code is not None else "")


def ports_of(ports: Iterable[int]) -> str:
    """The ports, each once; the first few of many."""
    numbers = sorted(set(ports))
    more = ",..." if len(numbers) > PORTS_SHOWN else ""
    return ",".join(map(str, numbers[:PORTS_SHOWN])) + more if numbers else "-"


def command_of(command: list[str] | str | None, shell: str | None) -> str:
    """The command as one would type it."""
    if command is None:
        return shell or "(shell)"
    return command if isinstance(command, str) else shlex.join(command)

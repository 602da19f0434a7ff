"""hold ls: the sessions, and how they are."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import json_option, pairs, print_json
from holdfast.cli.invocation import Invocation, shows_colour
from holdfast.cli.select import ALIVE, ENDED
from holdfast.cli.table import age, render

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["ls_command"]

HEADER = ("NAME", "ID", "STATE", "UP/ENDED", "LAST-OUTPUT", "NODE", "COMMAND")
SHOWN_AFTER_END = timedelta(hours=1)


@click.command("ls")
@click.option("-a", "--all", "all_", is_flag=True, help="Also those that ended long ago.")
@click.option("-q", "--quiet", is_flag=True, help="IDs only.")
@click.option("--filter", "filters", multiple=True, metavar="K=V",
              help="state, outcome, label, name, kind, node, ... (repeated: or).")  # fmt: skip
@json_option
@click.pass_obj
def ls_command(invocation: Invocation, all_: bool, quiet: bool, filters: tuple[str, ...]) -> None:
    """List live sessions, and those that ended within the hour."""
    now = datetime.now(UTC)
    found = listed(invocation.connect(), filters_of(filters), None if all_ else now)
    if invocation.as_json:
        print_json(found)
    elif quiet:
        click.echo("".join(f"{session['id']}\n" for session in found), nl=False)
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo("\n".join(table(found, now, columns, faint=shows_colour())))


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
    since = session["started_at"] if is_live(session) else session["ended_at"]
    return [
        session["name"] or "-",
        session["id"],
        state_of(session),
        age(since, now) + ("" if is_live(session) or since is None else " ago"),
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


def command_of(command: list[str] | str | None, shell: str | None) -> str:
    """The command as one would type it."""
    if command is None:
        return shell or "(shell)"
    return command if isinstance(command, str) else shlex.join(command)

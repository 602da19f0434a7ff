"""hold attach: come back to a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import complete_sessions
from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, session_of
from holdfast.cli.select import ALIVE

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["attach_command", "escape_of"]

REPLAY_BYTES = 64 * 1024
REPLAY_LINES = 200


def escape_of(text: str) -> str | None:
    """One printable ASCII character, None for `none`; raises a usage error."""
    if text == "none":
        return None
    if len(text) != 1 or not text.isascii() or not text.isprintable():
        raise click.BadParameter(f"{text!r}: one printable ASCII character is expected, or none")
    return text


@click.command("attach")
@click.argument("session", required=False, shell_complete=complete_sessions)
@click.option("-r", "--read-only", is_flag=True, help="Watch; type nothing.")
@click.option("--takeover", is_flag=True, help="Write also when another client does.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Replay so many lines.")
@click.option("--no-redraw", is_flag=True, help="Do not make full-screen programs redraw.")
@click.option(
    "--escape",
    type=escape_of,
    metavar="CHAR",
    help="Also ~. and ~d at line start, with this character.",
)
@click.pass_obj
def attach_command(
    invocation: Invocation,
    session: str | None,
    read_only: bool,
    takeover: bool,
    tail: int | None,
    no_redraw: bool,
    escape: str | None,
) -> int:
    """Come back to a session: the only one, or the last one, when none is named.

    ctrl-] d detaches and ctrl-] ? helps. Exits with the child's code.
    """
    from holdfast.cli.foreground import Join, join

    connection = invocation.connect()
    found = session_of(connection, session) if session else _only_or_last(connection)
    how = Join(
        session_id=found["id"],
        shown=found["name"] or found["id"],
        tty=found["tty"],
        owns=False,
        role="observer" if read_only else ("writer" if takeover else None),
        takeover=takeover,
        redraw=not no_redraw,
        escape=escape,
        **_begin(connection, found, tail),
    )
    connection.close()
    return join(invocation.address, how)


def _only_or_last(connection: Connection) -> dict[str, Any]:
    live = list(connection.sessions({"state": ALIVE}))
    found = live or list(connection.sessions())
    if not found:
        raise Failure("there is no session; start one: hold start -- COMMAND", Exit.NO_SESSION)
    last: dict[str, Any] = found[-1]
    return last


def _begin(connection: Connection, session: dict[str, Any], tail: int | None) -> dict[str, Any]:
    """Where the replay begins: as many lines as asked for; else of a terminal the last bytes."""
    if tail is None and session["tty"]:
        return {"offset": None, "tail_bytes": REPLAY_BYTES}
    lines = REPLAY_LINES if tail is None else tail
    return {"offset": offset_of_tail(connection, session["id"], lines)}


def offset_of_tail(connection: Connection, session_id: str, lines: int) -> int:
    """The offset at which the last `lines` lines begin."""
    query = {"tail_lines": lines, "max_bytes": 1}
    with connection.stream(path_of(session_id, "output"), query) as response:
        response.read()
        return int(response.headers["Holdfast-Offset"])

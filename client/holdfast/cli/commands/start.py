"""hold start: begin a session and leave it running."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import json_option, print_json
from holdfast.cli.commands.wait import (
    KINDS,
    READY_KINDS,
    condition_of,
    exit_of_wait,
    ready_of,
    waited,
)
from holdfast.cli.exits import Exit
from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of
from holdfast.cli.spec import body_of, restart_option, spec_options
from holdfast.cli.stable_port import give_port, port_option
from holdfast.cli.table import escaped
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection, Query

__all__ = ["start_command"]

LAST_LINES, LAST_CHARACTERS = 20, 64 * 1024
DETACHED_SIZE = {"rows": 40, "cols": 160}


@click.command("start", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal (40x160 unless --size).")
@click.option("--stdin", type=click.Choice(["pipe", "null"]), default="pipe", show_default=True)
@click.option(
    "--ready",
    type=ready_of,
    metavar=READY_KINDS,
    help="What makes it ready; waits for that, and shows the last lines if it ends first.",
)
@click.option(
    "--wait",
    "conditions",
    type=condition_of,
    multiple=True,
    metavar=KINDS,
    help="As `hold wait --for`.",
)
@restart_option
@port_option
@spec_options
@json_option
@click.pass_obj
def start_command(
    invocation: Invocation,
    /,
    command: tuple[str, ...],
    tty: bool,
    stdin: str,
    ready: Any,
    conditions: tuple[Any, ...],
    **given: Any,
) -> int:
    """Start a command as a session and print the session's ID."""
    invocation.starting = True
    connection = invocation.connect()
    if tty and given["size"] is None:
        given["size"] = DETACHED_SIZE
    body = body_of(invocation, command, given, kind="start", tty=tty, stdin=stdin)
    give_port(connection, body, given["port"])
    if ready is not None:
        body["ready"] = ready
    created = connection.call("POST", "/v1/sessions", body=body, repeatable=True)
    session = created["session"]
    if invocation.as_json:
        print_json(created)
    else:
        click.echo(session["id"])
        _next_commands(session["name"] or session["id"])
    exit_code = _wait_ready(connection, session["id"]) if ready is not None else Exit.OK
    if exit_code or not conditions:
        return exit_code
    return exit_of_wait(list(conditions), waited(connection, session["id"], list(conditions)))


def _wait_ready(connection: Connection, session_id: str) -> int:
    """Wait until the session is ready; if it ends first, show the end of what it printed."""
    result = waited(connection, session_id, ["ready"])
    if result["reason"] == "ended":
        query: Query = {"tail_lines": LAST_LINES, "format": "text"}
        try:
            with connection.stream(path_of(session_id, "output"), query) as response:
                text = response.read().decode(errors="replace")
        except HoldfastError as error:
            say(f"its output cannot be shown: {error}")
        else:
            for line in text[-LAST_CHARACTERS:].splitlines():
                click.echo(escaped(line), err=True)
    return exit_of_wait(["ready"], result)


def _next_commands(shown: str) -> None:
    """What a person does next, on a terminal only."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        click.echo(f"  hold attach {shown}    come back to it", err=True)
        click.echo(f"  hold logs -f {shown}   follow its output", err=True)
        click.echo(f"  hold stop {shown}      end it", err=True)

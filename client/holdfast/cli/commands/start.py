"""hold start: begin a session and leave it running."""

from __future__ import annotations

import sys
from typing import Any

import click

from holdfast.cli.arguments import json_option, print_json
from holdfast.cli.commands.wait import KINDS, condition_of, exit_of_wait, waited
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation
from holdfast.cli.spec import body_of, restart_option, spec_options

__all__ = ["start_command"]

DETACHED_SIZE = {"rows": 40, "cols": 160}


@click.command("start", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal (40x160 unless --size).")
@click.option("--stdin", type=click.Choice(["pipe", "null"]), default="pipe", show_default=True)
@click.option(
    "--wait",
    "conditions",
    type=condition_of,
    multiple=True,
    metavar=KINDS,
    help="As `hold wait --for`.",
)
@restart_option
@spec_options
@json_option
@click.pass_obj
def start_command(
    invocation: Invocation,
    /,
    command: tuple[str, ...],
    tty: bool,
    stdin: str,
    conditions: tuple[Any, ...],
    **given: Any,
) -> int:
    """Start a command as a session and print the session's ID."""
    invocation.starting = True
    connection = invocation.connect()
    if tty and given["size"] is None:
        given["size"] = DETACHED_SIZE
    body = body_of(invocation, command, given, kind="start", tty=tty, stdin=stdin)
    created = connection.call("POST", "/v1/sessions", body=body, repeatable=True)
    session = created["session"]
    if invocation.as_json:
        print_json(created)
    else:
        click.echo(session["id"])
        _next_commands(session["name"] or session["id"])
    if not conditions:
        return Exit.OK
    return exit_of_wait(list(conditions), waited(connection, session["id"], list(conditions)))


def _next_commands(shown: str) -> None:
    """What a person does next, on a terminal only."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        click.echo(f"  hold attach {shown}    come back to it", err=True)
        click.echo(f"  hold logs -f {shown}   follow its output", err=True)
        click.echo(f"  hold stop {shown}      end it", err=True)

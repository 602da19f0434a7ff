"""hold rm, prune: forget finished sessions, and free their IDs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from holdfast.cli.arguments import json_option, label_option, print_json, sessions_argument
from holdfast.cli.each import for_each
from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, resolved
from holdfast.cli.select import selected
from holdfast.errors import Conflict

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["prune_command", "rm_command"]


@click.command("rm")
@sessions_argument()
@label_option("Every finished session with this label.")
@click.option("--all", "all_", is_flag=True, help="Every finished session.")
@click.option("-f", "--force", is_flag=True, help="Kill it first when it is alive.")
@json_option
@click.pass_obj
def rm_command(
    invocation: Invocation,
    sessions: tuple[str, ...],
    labels: tuple[str, ...],
    all_: bool,
    force: bool,
) -> int:
    """Forget sessions: record, output, ID."""
    connection = invocation.connect()
    refs = selected(connection, sessions, labels, every=all_, finished=True)

    def one(own: Connection, ref: str) -> int:
        _remove(own, ref, force=force)
        click.echo(json.dumps({"removed": ref}) if invocation.as_json else ref)
        return Exit.OK

    return for_each(invocation, connection, refs, one)


def _remove(connection: Connection, ref: str, *, force: bool) -> None:
    try:
        resolved(
            connection,
            ref,
            lambda known: connection.call("DELETE", path_of(known), query={"force": force}),
        )
    except Conflict as error:
        if force:
            raise
        raise Failure(f"{ref} is alive; `hold rm -f {ref}` kills it first") from error


@click.command("prune")
@json_option
@click.pass_obj
def prune_command(invocation: Invocation) -> None:
    """Forget every finished session."""
    removed = invocation.connect().call("POST", "/v1/prune")["removed"]
    if invocation.as_json:
        print_json(removed)
    else:
        for session_id in removed:
            click.echo(session_id)

"""hold run: a command in the foreground that survives this terminal."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.invocation import Invocation
from holdfast.cli.spec import body_of, restart_option, spec_options
from holdfast.cli.stable_port import give_port, port_option

__all__ = ["foreground", "run_command"]


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-i/-I", "--interactive/--no-interactive", default=True, help="Pass stdin on.")
@click.option("-t", "--tty", is_flag=True, help="Give it this terminal.")
@click.option("--yield", "yield_s", type=click.FloatRange(min=0), metavar="S",
              help="Leave it running after S seconds: exit 75, and its ID on stderr.")  # fmt: skip
@restart_option
@port_option
@spec_options
@click.pass_obj
def run_command(
    invocation: Invocation,
    /,
    command: tuple[str, ...],
    interactive: bool,
    tty: bool,
    yield_s: float | None,
    **given: Any,
) -> int:
    """Run a command in the foreground; exits with its code.

    Ctrl-c is SIGINT to it, a second one within 2 s stops it. Where this command itself is killed,
    the session goes on: hold attach.
    """
    fields = {"kind": "run", "tty": tty, "stdin": "pipe" if interactive or tty else "null"}
    return foreground(invocation, command, given, fields, stdin=interactive, yield_s=yield_s)


def foreground(
    invocation: Invocation,
    command: tuple[str, ...],
    given: dict[str, Any],
    fields: dict[str, Any],
    *,
    stdin: bool,
    escape: str | None = None,
    yield_s: float | None = None,
) -> int:
    """Start a session with these fields and stay with it; its exit code."""
    from holdfast.cli.foreground import Join, join
    from holdfast.cli.terminal import terminal_size

    invocation.starting = True
    connection = invocation.connect()
    tty = fields["tty"]
    if tty and given["size"] is None:
        given["size"] = terminal_size()
    if not tty:
        # No byte goes that was not taken; a terminal's output is for eyes, and never waits.
        fields["output"] = {"on_full": "block"}
    body = body_of(invocation, command, given, **fields)
    give_port(connection, body, given.get("port"))
    session = connection.call("POST", "/v1/sessions", body=body, repeatable=True)["session"]
    connection.close()
    how = Join(
        session_id=session["id"],
        shown=session["name"] or session["id"],
        tty=session["tty"],
        owns=True,
        stdin=stdin,
        lossless=not tty,
        escape=escape,
        yield_s=yield_s,
    )
    return join(invocation.address, how)

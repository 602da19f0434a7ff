"""hold exec: a command on a machine, or beside a session, as one would with ssh or docker exec."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.arguments import complete_sessions
from holdfast.cli.commands.attach import escape_of
from holdfast.cli.commands.run import foreground
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import session_of
from holdfast.cli.spec import spec_options
from holdfast.cli.terminal import is_terminal

__all__ = ["exec_command"]

LOCAL = "local"
SPELLINGS = {
    "-i=true": "-i", "-i=false": "-I", "-t=true": "-t", "-t=false": "-T",
}  # fmt: skip


class ExecCommand(click.Command):
    """`exec [TARGET] [OPTIONS] -- COMMAND`: what stands behind `--` is the command's alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split at the first `--`, and read Nomad's `-t=false` as `-T`."""
        head, tail = args, []
        if "--" in args:
            place = args.index("--")
            head, tail = args[:place], args[place + 1 :]
        ctx.meta["command"] = tuple(tail)
        return super().parse_args(ctx, [SPELLINGS.get(word, word) for word in head])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line, with the command's part."""
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


@click.command("exec", cls=ExecCommand)
@click.argument("target", required=False, shell_complete=complete_sessions)
@click.option("-i/-I", "--interactive/--no-interactive", default=True, help="Pass stdin on.")
@click.option("-t/-T", "--tty/--no-tty", default=None,
              help="Give it this terminal (default: where stdin and stdout are one).")  # fmt: skip
@click.option("--cmd", metavar="STRING", help="The command as one string, split; or for --shell.")
@click.option(
    "--escape",
    type=escape_of,
    metavar="CHAR",
    default="~",
    show_default=True,
    help="~. leaves; or none.",
)
@spec_options
@click.pass_context
def exec_command(
    ctx: click.Context,
    /,
    target: str | None,
    interactive: bool,
    tty: bool | None,
    cmd: str | None,
    escape: str | None,
    **given: Any,
) -> int:
    """Run a command on a machine (local), or where a session runs; exits with its code.

    TARGET is a machine or a session: then the command gets its directory and its user.
    """
    invocation: Invocation = ctx.obj
    command = ctx.meta["command"]
    if cmd is not None:
        if command:
            raise click.UsageError("give --cmd or a command behind --, not both")
        command, given["shell"] = (cmd,), given["shell"] or "none"
    if target is not None and target != LOCAL:
        _beside(invocation, target, given)
    on_terminal = is_terminal(0) and is_terminal(1) if tty is None else tty
    fields = {
        "kind": "exec",
        "tty": on_terminal,
        "stdin": "pipe" if interactive or on_terminal else "null",
        "leftovers": "keep",
    }
    return foreground(invocation, command, given, fields, stdin=interactive, escape=escape)


def _beside(invocation: Invocation, target: str, given: dict[str, Any]) -> None:
    """Take directory and user of a session where none was given."""
    session = session_of(invocation.connect(), target)
    if given["cwd"] is None:
        given["cwd"] = session["cwd"]
    if given["user"] is None and session["user"] is not None:
        group = session["group"]
        given["user"] = session["user"] + (f":{group}" if group is not None else "")

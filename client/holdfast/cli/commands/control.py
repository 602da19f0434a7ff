"""hold stop, kill, signal, restart, timeout, resize: requests with receipts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.arguments import (
    json_option,
    label_option,
    session_argument,
    sessions_argument,
    size_of,
)
from holdfast.cli.each import for_each
from holdfast.cli.exits import Exit
from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, resolved
from holdfast.cli.select import selected
from holdfast.ids import new_id

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = [
    "kill_command",
    "resize_command",
    "restart_command",
    "signal_command",
    "stop_command",
    "timeout_command",
]

F = TypeVar("F", bound=Callable[..., Any])


def many(function: F) -> F:
    """SESSION..., -l and --all: what a verb for several sessions takes."""
    function = json_option(function)
    function = click.option("--all", "all_", is_flag=True, help="Every live session.")(function)
    function = label_option("Every live session with this label.")(function)
    return sessions_argument()(function)


@click.command("stop")
@many
@click.option("-t", "--grace", type=click.FloatRange(min=0), help="Seconds until SIGKILL.")
@click.pass_obj
def stop_command(
    invocation: Invocation,
    sessions: tuple[str, ...],
    labels: tuple[str, ...],
    all_: bool,
    grace: float | None,
) -> int:
    """Ask sessions to end, kill what is left, and prove that nothing of the tree lives."""
    connection = invocation.connect()
    refs = selected(connection, sessions, labels, every=all_)
    fields = {} if grace is None else {"grace": grace}
    return control_all(invocation, connection, "stop", refs, fields)


@click.command("kill")
@many
@click.pass_obj
def kill_command(
    invocation: Invocation, sessions: tuple[str, ...], labels: tuple[str, ...], all_: bool
) -> int:
    """SIGKILL the whole tree of sessions, and prove that nothing of it lives."""
    connection = invocation.connect()
    refs = selected(connection, sessions, labels, every=all_)
    return control_all(invocation, connection, "kill", refs, {})


@click.command("signal")
@session_argument
@click.argument("signal", default="SIGTERM")
@click.option(
    "--target", type=click.Choice(["leader", "group", "tree"]), default="leader", show_default=True
)
@json_option
@click.pass_obj
def signal_command(invocation: Invocation, session: str, signal: str, target: str) -> int:
    """Send one signal, by name or number."""
    fields = {"signal": int(signal) if signal.isdecimal() else signal, "target": target}
    return control_all(invocation, invocation.connect(), "signal", [session], fields)


@click.command("restart")
@sessions_argument(required=True)
@click.option("--env-from-here", is_flag=True, help="Take the caller's environment instead.")
@json_option
@click.pass_obj
def restart_command(invocation: Invocation, sessions: tuple[str, ...], env_from_here: bool) -> int:
    """Stop the child, if there is one, and start the next generation under the same ID."""
    fields: dict[str, Any] = {}
    if env_from_here:
        import os

        from holdfast.cli.spec import sendable

        fields["base_env"] = sendable(os.environ)
    return control_all(invocation, invocation.connect(), "restart", list(sessions), fields)


NONE = "none"


def seconds_or_none(text: str) -> float | str:
    """Seconds, or `none`, which takes a timeout away."""
    try:
        return NONE if text == NONE else float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither seconds nor none") from None


@click.command("timeout")
@session_argument
@click.option("--run", type=seconds_or_none, metavar="S|none",
              help="End it S seconds from now.")  # fmt: skip
@click.option("--idle", type=seconds_or_none, metavar="S|none",
              help="After S seconds without output and input.")  # fmt: skip
@click.option("--disconnect", type=seconds_or_none, metavar="S|none",
              help="After S seconds with nobody attached.")  # fmt: skip
@json_option
@click.pass_obj
def timeout_command(invocation: Invocation, /, session: str, **timeouts: float | str | None) -> int:
    """Set timeouts of a running session, or take them away."""
    given = {name: value for name, value in timeouts.items() if value is not None}
    fields = {name: None if value == NONE else value for name, value in given.items()}
    if not fields:
        raise click.UsageError("give --run, --idle or --disconnect")
    return control_all(invocation, invocation.connect(), "timeout", [session], fields)


@click.command("resize")
@session_argument
@click.argument("size", type=size_of, metavar="ROWSxCOLS")
@json_option
@click.pass_obj
def resize_command(invocation: Invocation, session: str, size: dict[str, int]) -> int:
    """Set the size of a session's terminal, ROWSxCOLS."""
    return control_all(invocation, invocation.connect(), "resize", [session], size)


def control_all(
    invocation: Invocation,
    connection: Connection,
    verb: str,
    refs: list[str],
    fields: dict[str, Any],
) -> int:
    """Send the verb to each session and print its ID (or the receipt).

    1 when one was not done; of several refusals the highest code.
    """

    def one(own: Connection, ref: str) -> int:
        receipt = control(own, ref, verb, fields)
        click.echo(json.dumps(receipt) if invocation.as_json else receipt["session"])
        return Exit.OK if is_done(receipt) else Exit.FAILURE

    return for_each(invocation, connection, refs, one)


def control(connection: Connection, ref: str, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
    """One control request; the receipt. Its ID makes a repeat after a lost connection harmless."""
    body = {"command_id": new_id(), **fields}
    receipt: dict[str, Any] = resolved(
        connection,
        ref,
        lambda known: connection.call("POST", path_of(known, verb), body=body, repeatable=True),
    )
    return receipt


def is_done(receipt: dict[str, Any]) -> bool:
    """Whether the request did what it says; if not, say what is left."""
    effect, session = receipt["effect"], receipt["session"]
    if survivors := effect.get("survivors"):
        say(f"{session}: still alive after SIGKILL: {', '.join(map(str, survivors))}")
        return False
    if receipt["state"] in {"failed", "expired"}:
        why = effect.get("message") or effect.get("code") or receipt["state"]
        say(f"{session}: {receipt['verb']} {receipt['state']}: {why}")
        return False
    return True

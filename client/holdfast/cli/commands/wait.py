"""hold wait: until something is true of a session."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import json_option, print_json, session_argument
from holdfast.cli.exits import Exit, exit_of_session
from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, resolved

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = [
    "KINDS",
    "READY_KINDS",
    "condition_of",
    "exit_of_wait",
    "ready_of",
    "wait_command",
    "waited",
]

ASK_S = 45.0  # the daemon holds an answer back for 50 s at most
KINDS = "exit|ended|ready|change|log:RE|port:N|http:URL|idle:S"
READY_KINDS = "log:RE|port:N|http:URL|idle:S"
RANGES = {"port": "1 to 65535, or any,", "idle": "a number above 0"}
WHOLE = ("exit", "ended", "ready", "change")


def condition_of(text: str) -> Any:
    """One condition in words, as the daemon's JSON; raises a usage error."""
    kind, _, given = text.partition(":")
    try:
        if text in WHOLE:
            return text
        if kind == "log" and given:
            return {"log": given}
        if kind == "http" and "://" in given:
            return {"http": given}
        if kind == "port":
            return {"port": given if given == "any" else _port(given)}
        if kind == "idle":
            return {"idle": _seconds(given)}
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {RANGES[kind]} is expected after {kind}:") from error
    raise click.BadParameter(f"{text!r} is none of {KINDS}")


def ready_of(text: str) -> Any:
    """A condition that can make a session ready; raises a usage error."""
    if isinstance(condition := condition_of(text), str):
        raise click.BadParameter(f"{text!r} is none of {READY_KINDS}")
    return condition


def _port(text: str) -> int:
    if (port := int(text)) not in range(1, 65536):
        raise ValueError(text)
    return port


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < float("inf"):
        raise ValueError(text)
    return seconds


@click.command("wait")
@session_argument
@click.option(
    "--for",
    "conditions",
    type=condition_of,
    multiple=True,
    metavar=KINDS,
    help="The first one to hold.",
)
@click.option("--from-offset", type=click.IntRange(min=0), help="Where log: begins to look.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="Give up after S.")
@json_option
@click.pass_obj
def wait_command(
    invocation: Invocation,
    session: str,
    conditions: tuple[Any, ...],
    from_offset: int | None,
    timeout: float | None,
) -> int:
    """Wait for the end (the default), readiness, a line of output, a port, a URL, silence.

    Exits with the child's code for its end; else with 0 when a condition held, 3 when the session
    ended first, 124 when the time was over.
    """
    wanted = list(conditions) or ["exit"]
    result = waited(invocation.connect(), session, wanted, from_offset=from_offset, timeout=timeout)
    if invocation.as_json:
        print_json(result)
    return exit_of_wait(wanted, result)


def waited(
    connection: Connection,
    ref: str,
    conditions: list[Any],
    *,
    from_offset: int | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Ask until one holds, the session has ended, or `timeout` seconds are over; the last answer.

    Each question searches from the same offset: a line that was half printed at the end of one is
    seen whole by the next.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    body: dict[str, Any] = {"for": conditions}
    if from_offset is not None:
        body["from_offset"] = from_offset
    while True:
        left = float("inf") if deadline is None else max(0.0, deadline - time.monotonic())
        body["timeout"] = min(ASK_S, left)
        result: dict[str, Any] = resolved(
            connection,
            ref,
            lambda known: connection.call(
                "POST", path_of(known, "wait"), body=body, repeatable=True
            ),
        )
        if result["reason"] != "timeout" or left <= ASK_S:
            return result
        body["generation"] = result["session"]["generation"]


def exit_of_wait(conditions: list[Any], result: dict[str, Any]) -> int:
    """The exit code that the answer stands for."""
    met, session = result["met"], result["session"]
    if met is not None:
        asked_for_end = conditions[met] in {"exit", "ended"} if _is_word(conditions[met]) else False
        return exit_of_session(session) if asked_for_end else Exit.OK
    if result["reason"] == "ended":
        say(f"{session['id']} ended first: {session['message']}")
        return Exit.ENDED_FIRST
    say(f"{session['id']}: the time is over, and nothing of it came")
    return Exit.TIMEOUT


def _is_word(condition: Any) -> bool:
    return isinstance(condition, str)

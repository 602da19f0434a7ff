"""What ends a command early: one line on stderr that says what to do, and an exit code."""

from __future__ import annotations

import json
from contextlib import suppress

import click

from holdfast.cli.exits import Exit, exit_of_error
from holdfast.cli.table import escaped
from holdfast.errors import HoldfastError, NotReachable

__all__ = ["Failure", "exit_of", "report", "say"]


class Failure(Exception):
    """Ends the command with `exit_code`; `message` is None when all is said already."""

    def __init__(self, message: str | None, exit_code: int = Exit.FAILURE) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def exit_of(error: HoldfastError, *, starting: bool = False) -> int:
    """The exit code for an error of the client library; `starting` as in `exit_of_error`."""
    if isinstance(error, NotReachable):
        return Exit.UNREACHABLE
    return exit_of_error(error.code, error.details, starting=starting)


def say(message: str) -> None:
    """One line of talk, on stderr, with nothing in it that a terminal would obey."""
    with suppress(OSError):  # a stderr that takes nothing leaves nowhere to say so
        click.echo(f"hold: {escaped(message)}", err=True)


def report(error: HoldfastError, *, as_json: bool) -> None:
    """Say what went wrong: a sentence, or the daemon's own error object with --json."""
    if not as_json:
        say(error.message + _hint(error))
        return
    code = error.code or ("UNREACHABLE" if isinstance(error, NotReachable) else "CLIENT")
    shown = {"code": code, "message": error.message, "details": dict(error.details)}
    click.echo(json.dumps({"error": shown}), err=True)


def _hint(error: HoldfastError) -> str:
    """What to do about it, for the refusals that a person meets first."""
    if isinstance(error, NotReachable):
        return " (see `hold doctor`)"
    return {
        "NAME_IN_USE": " (--replace stops that one first)",
        "NOT_FOUND": " (see `hold ls -a`)",
        "UNAUTHENTICATED": " (give a token: HOLDFAST_TOKEN or --token-file)",
    }.get(error.code, "")

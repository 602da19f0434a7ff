"""hold inspect: all that the daemon knows of one session."""

from __future__ import annotations

import click

from holdfast.cli.arguments import json_option, print_json, session_argument
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import session_of

__all__ = ["inspect_command"]


@click.command("inspect")
@session_argument
@json_option
@click.pass_obj
def inspect_command(invocation: Invocation, session: str) -> None:
    """Print one session as JSON: state, outcome, offsets, ports, usage."""
    print_json(session_of(invocation.connect(), session))

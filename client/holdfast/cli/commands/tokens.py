"""hold tokens: credentials for the TCP listener."""

from __future__ import annotations

import click

from holdfast.cli.arguments import json_option, print_json
from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation

__all__ = ["tokens_command"]


@click.group("tokens")
def tokens_command() -> None:
    """Credentials for the TCP listener."""


@tokens_command.command("create")
@click.argument("name")
@json_option
@click.pass_obj
def create(invocation: Invocation, name: str) -> None:
    """Create a token. It is printed on stdout this once, and kept nowhere."""
    created = invocation.connect().call("POST", "/v1/tokens", body={"name": name})
    if invocation.as_json:
        print_json(created)
        return
    say(f"{created['accessor']} is its ID; the token is shown this once")
    click.echo(created["token"])

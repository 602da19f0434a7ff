"""hold version: of the client, and of the daemon where one answers."""

from __future__ import annotations

import click

from holdfast.cli.arguments import json_option, print_json
from holdfast.cli.invocation import Invocation
from holdfast.errors import HoldfastError

__all__ = ["version_command"]


@click.command("version")
@json_option
@click.pass_obj
def version_command(invocation: Invocation) -> None:
    """Print the versions of this client and of the daemon."""
    from importlib.metadata import version

    found = {"client": version("holdfast"), "daemon": _daemon(invocation)}
    if invocation.as_json:
        print_json(found)
    else:
        click.echo(f"hold {found['client']}")
        click.echo(f"holdfastd {found['daemon'] or '- (none answers)'}")


def _daemon(invocation: Invocation) -> str | None:
    try:
        return str(invocation.connect(autostart=False).get("/v1/node")["version"])
    except HoldfastError:
        return None

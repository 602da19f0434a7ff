"""hold node: what the daemon says of itself."""

from __future__ import annotations

import click

from holdfast.cli.arguments import json_option, print_json
from holdfast.cli.invocation import Invocation
from holdfast.cli.table import escaped

__all__ = ["node_command"]


@click.command("node")
@json_option
@click.pass_obj
def node_command(invocation: Invocation) -> None:
    """Show the node: version, process, keeper, listeners, promises, limits."""
    node = invocation.connect().get("/v1/node")
    if invocation.as_json:
        print_json(node)
        return
    for key, value in node.items():
        click.echo(f"{key:<12} {escaped(_shown(value))}")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key}={_shown(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list):
        return "  ".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)

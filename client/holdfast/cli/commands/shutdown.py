"""hold shutdown: end the daemon, not its sessions."""

from __future__ import annotations

import click

from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation

__all__ = ["shutdown_command"]


@click.command("shutdown")
@click.option("--kill-sessions", is_flag=True, help="Stop every session and the keeper first.")
@click.pass_obj
def shutdown_command(invocation: Invocation, kill_sessions: bool) -> None:
    """End the daemon. Sessions and their keeper go on until a daemon comes back."""
    connection = invocation.connect(autostart=False)
    connection.call("POST", "/v1/node/shutdown", query={"kill_sessions": kill_sessions})
    say("every session was stopped, the daemon ends" if kill_sessions else
        "the daemon ends; sessions go on, and the next hold command brings it back")  # fmt: skip

"""hold shutdown: end the daemon, not its sessions."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack

import click

from holdfast.cli.failure import Failure, say
from holdfast.cli.invocation import Invocation

__all__ = ["shutdown_command"]

END_S = 30.0


@click.command("shutdown")
@click.option("--kill-sessions", is_flag=True, help="Stop every session and the keeper first.")
@click.pass_obj
def shutdown_command(invocation: Invocation, kill_sessions: bool) -> None:
    """End the daemon. Sessions and their keeper go on until a daemon comes back."""
    connection = invocation.connect(autostart=False)
    node = connection.get("/v1/node")
    ending = [node["pid"], *([node["keeper"]["pid"]] if kill_sessions else [])]
    with ExitStack() as opened:
        pidfds = _pidfds(opened, ending) if invocation.address.socket is not None else []
        connection.call("POST", "/v1/node/shutdown", query={"kill_sessions": kill_sessions})
        connection.close()
        _wait_ended(pidfds)
    say(
        "every session was stopped, and the daemon has ended"
        if kill_sessions
        else "the daemon has ended; sessions go on, and the next hold command brings it back"
    )


def _pidfds(opened: ExitStack, pids: list[int | None]) -> list[int]:
    """Descriptors that become readable at the end of these processes of this machine."""
    found = []
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid or 0)
        except (OSError, ValueError):  # there is no such process, any more or at all
            continue
        opened.callback(os.close, pidfd)
        found.append(pidfd)
    return found


def _wait_ended(pidfds: list[int]) -> None:
    for pidfd in pidfds:
        if not select.select([pidfd], [], [], END_S)[0]:
            raise Failure(f"the daemon or its keeper did not end within {END_S:.0f} s")

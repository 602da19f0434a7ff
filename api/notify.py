"""Telling whoever started the daemon that it answers: systemd, or a parent with a pipe."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

__all__ = ["is_under_systemd", "tell_parent", "tell_systemd"]


def is_under_systemd(environment: Mapping[str, str], pid: int) -> bool:
    """Return whether systemd started this very process, and so starts it again.

    SYSTEMD_EXEC_PID names the process that systemd started (systemd.exec(5)); older versions do
    not set it. INVOCATION_ID alone is inherited by everything a user starts in a session.
    """
    if "SYSTEMD_EXEC_PID" in environment:
        return environment["SYSTEMD_EXEC_PID"] == str(pid)
    return "INVOCATION_ID" in environment and "NOTIFY_SOCKET" in environment


def tell_systemd(environment: Mapping[str, str], state: str) -> None:
    """Send one datagram, `READY=1` or `STOPPING=1`, to `$NOTIFY_SOCKET` if there is one.

    sd_notify(3): a leading @ is an abstract socket. That nobody listens is not our failure.
    """
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        messenger.sendto(state.encode(), address)


def tell_parent(descriptor: int, listeners: Sequence[str]) -> None:
    """Write `{"pid", "listeners"}` and a line feed, and close; a parent that left is no failure."""
    line = msgspec.json.encode({"pid": os.getpid(), "listeners": listeners}) + b"\n"
    with suppress(OSError):
        os.write(descriptor, line)
    with suppress(OSError):
        os.close(descriptor)

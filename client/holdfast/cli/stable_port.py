"""`--port auto`: a free port that stays the same for a directory and a name.

Rules
- The directory and the name decide where the search begins; the first port from there that is
  neither given to a live session nor listened on is taken. The next start finds the same one.
- The port is exported as PORT and kept in the label `holdfast.port`. A live session of that name
  has one already: it is that one again, so that starting twice asks for the same session.
- It is probed by binding, and let go of again: somebody else may still take it first. It is
  done here, so `auto` works for a daemon on this machine only.
"""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.failure import Failure, say
from holdfast.cli.select import ALIVE

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["FIRST", "LABEL", "NUMBER", "chosen", "give_port", "is_free", "port_option"]

F = TypeVar("F", bound=Callable[..., Any])

LABEL = "holdfast.port"
FIRST, NUMBER, LAST = 20_000, 10_000, 65535
_EVERY_ADDRESS = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104  (a probe)


def port_option(function: F) -> F:
    """--port, for what may listen on one."""
    return click.option(
        "--port",
        type=_port_of,
        metavar="auto|N",
        help="Set PORT; auto: a free one, the same for this directory and name each time.",
    )(function)


def _port_of(text: str) -> str | int:
    if text == "auto":
        return text
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= LAST):
        raise click.BadParameter(f"{text!r}: auto or a number from 1 to {LAST} is expected")
    return int(text)


def give_port(connection: Connection, body: dict[str, Any], port: str | int | None) -> None:
    """Put the port of `--port` into a request to start a session, and say which it is.

    Raises UsageError where the daemon is on another machine, or PORT is given twice; Failure where
    no port is free.
    """
    if port is None:
        return
    env = body.setdefault("env", {})
    if "PORT" in env:
        raise click.UsageError("PORT is given by --env already; leave one of the two out")
    if port == "auto":
        if connection.address.socket is None:
            raise click.UsageError("--port auto looks for a port on this machine; give --port N")
        port = port_for(connection, body)
    env["PORT"] = str(port)
    body["labels"] = {**body.get("labels", {}), LABEL: str(port)}
    say(f"PORT={port}")


def port_for(connection: Connection, body: Mapping[str, Any]) -> int:
    """Return the port for a session that is about to be started. Raises Failure."""
    live = list(connection.sessions({"state": ALIVE, "label": [LABEL]}))
    name, directory = body.get("name"), body.get("cwd") or ""
    same = (one for one in live if one["id"] == body["id"] or (name and one["name"] == name))
    own = next(same, None)
    if own is not None and (given := _given(own)) is not None:
        return given
    taken = {port for one in live if (port := _given(one)) is not None}
    return chosen(directory, name, taken, is_free)


def chosen(
    directory: str, name: str | None, taken: Collection[int], free: Callable[[int], bool]
) -> int:
    """Return the first port in its order that is not taken and free. Raises Failure for none."""
    for port in _order(directory, name):
        if port not in taken and free(port):
            return port
    raise Failure(f"no port from {FIRST} to {FIRST + NUMBER - 1} is free; give --port N")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine, on whatever address."""
    return all(_can_listen(family, address, port) for family, address in _EVERY_ADDRESS)


def _can_listen(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # What was closed a moment ago (TIME_WAIT) is free; a listener still refuses.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
            probe.listen()
    except OSError as error:  # a machine without IPv6 has nobody listening there
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True


def _order(directory: str, name: str | None) -> Iterator[int]:
    content = f"{directory}\0{name or ''}".encode(errors="surrogateescape")
    start = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    return (FIRST + (start + step) % NUMBER for step in range(NUMBER))


def _given(session: dict[str, Any]) -> int | None:
    """The port that a session was given; None where somebody wrote something else there."""
    text = session["labels"].get(LABEL, "")
    return int(text) if text.isascii() and text.isdecimal() else None

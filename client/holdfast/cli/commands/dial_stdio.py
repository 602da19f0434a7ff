"""hold dial-stdio: this machine's daemon on stdin and stdout, for a client that came by ssh."""

from __future__ import annotations

import socket

import click

from holdfast.address import Address, resolve
from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure
from holdfast.cli.invocation import Invocation
from holdfast.errors import NotReachable
from holdfast.places import local_socket

__all__ = ["dial_stdio_command"]

STDIN, STDOUT = 0, 1


@click.command("dial-stdio")
@click.pass_obj
def dial_stdio_command(invocation: Invocation) -> None:
    """Join stdin and stdout with this machine's daemon, as ssh://host does there.

    Starts the daemon where none runs, unless `hold --no-autostart dial-stdio`. Only -H unix:///path
    leads to another one than the caller's own.
    """
    from holdfast.cli.relay import relay

    address = resolve(invocation.url or f"unix://{local_socket()}")
    if address.socket is None:
        raise Failure(f"dial-stdio joins with a unix socket, not {address.shown}", Exit.USAGE)
    own = invocation.url is None and invocation.autostart
    with _connected(address, starts=own) as connection:
        relay(STDIN, STDOUT, connection)


def _connected(address: Address, *, starts: bool) -> socket.socket:
    try:
        return _dialled(address)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if not starts:
            raise _unreachable(address, error) from error
    except OSError as error:
        raise _unreachable(address, error) from error
    from holdfast.cli.autostart import start_daemon

    start_daemon(address)
    return _dialled(address)


def _dialled(address: Address) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.connect(str(address.socket))
    except BaseException:  # an interrupt too; it goes on to the caller
        opened.close()
        raise
    return opened


def _unreachable(address: Address, error: OSError) -> NotReachable:
    return NotReachable(f"no daemon answers at {address.shown}: {error.strerror}")

"""hold send: input for a session, from anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from holdfast.cli.arguments import json_option, print_json, session_argument
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, resolved, session_of
from holdfast.cli.terminal import is_terminal

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["send_command"]

STDIN = "-"
PIECE_BYTES = 256 * 1024  # a repeat of so much can be told from other input (its journal)


@click.command("send")
@session_argument
@click.argument("text", required=False)
@click.option("--line", is_flag=True, help="End TEXT with a newline.")
@click.option("--eof", is_flag=True, help="End the input, behind TEXT or stdin.")
@json_option
@click.pass_obj
def send_command(
    invocation: Invocation, session: str, text: str | None, line: bool, eof: bool
) -> None:
    """Send TEXT, or without it (or for -) stdin, to a session's input.

    With --eof and a terminal as stdin, nothing is read: the input just ends.
    """
    if text in {None, STDIN} and line:
        raise click.UsageError("--line needs TEXT: stdin is sent as it is")
    connection = invocation.connect()
    if text is not None and text != STDIN:
        content = os.fsencode(text) + (b"\n" if line else b"")
        next_ = _send(connection, session, content, None, close=eof)
    elif eof and text is None and is_terminal(0):
        next_ = _send(connection, session, b"", None, close=True)
    else:
        next_ = _send_stdin(connection, session, close=eof)
    if invocation.as_json:
        print_json({"next": next_})


def _send_stdin(connection: Connection, session: str, *, close: bool) -> int:
    """Send all of stdin, piece by piece at its offset, so that no repeat doubles a byte."""
    offset = int(session_of(connection, session)["input"]["next"])
    while content := os.read(0, PIECE_BYTES):
        offset = _send(connection, session, content, offset, close=False)
    return _send(connection, session, b"", offset, close=True) if close else offset


def _send(
    connection: Connection, session: str, content: bytes, offset: int | None, *, close: bool
) -> int:
    """Append; the offset after it."""
    query = {"offset": offset, "close": close or None}
    answer = resolved(
        connection,
        session,
        lambda known: connection.call(
            "POST", path_of(known, "input"), query=query, body=content,
            repeatable=offset is not None,
        ),
    )  # fmt: skip
    return int(answer["next"])

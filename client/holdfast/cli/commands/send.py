"""hold send: input for a session, from anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from holdfast.cli.arguments import json_option, print_json, session_argument
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, resolved, session_of

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["send_command"]

PIECE_BYTES = 256 * 1024  # a repeat of so much can be told from other input (its journal)


@click.command("send")
@session_argument
@click.argument("text", required=False)
@click.option("--line", is_flag=True, help="End TEXT with a newline.")
@click.option("--eof", is_flag=True, help="End the input, behind TEXT if there is one.")
@json_option
@click.pass_obj
def send_command(
    invocation: Invocation, session: str, text: str | None, line: bool, eof: bool
) -> None:
    """Send TEXT, or without it stdin, to a session's input."""
    connection = invocation.connect()
    end = b"\n" if line else b""
    if text is not None:
        next_ = _send(connection, session, os.fsencode(text) + end, None, close=eof)
    elif eof:
        next_ = _send(connection, session, end, None, close=True)
    else:
        next_ = _send_stdin(connection, session)
    if invocation.as_json:
        print_json({"next": next_})


def _send_stdin(connection: Connection, session: str) -> int:
    """Send all of stdin, piece by piece at its offset, so that no repeat doubles a byte."""
    offset = int(session_of(connection, session)["input"]["next"])
    while content := os.read(0, PIECE_BYTES):
        offset = _send(connection, session, content, offset, close=False)
    return offset


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

"""hold send: input for a session, from anywhere."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import json_option, print_json, session_argument
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import path_of, resolved, session_of
from holdfast.cli.steps import Step, step_options
from holdfast.cli.terminal import is_terminal

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection, Query

__all__ = ["send_command"]

STDIN = "-"
PIECE_BYTES = 256 * 1024  # a repeat of so much can be told from other input (its journal)


@click.command("send")
@session_argument
@click.argument("text", required=False)
@click.option("--line", is_flag=True, help="End TEXT with a newline.")
@click.option("--eof", is_flag=True, help="End the input, behind TEXT or stdin.")
@step_options
@json_option
@click.pass_obj
def send_command(
    invocation: Invocation,
    /,
    session: str,
    text: str | None,
    line: bool,
    eof: bool,
    **step: Any,
) -> int:
    """Send TEXT, or without it (or for -) stdin, to a session's input.

    With --eof and a terminal as stdin, nothing is read: the input just ends. With --wait it exits
    as `hold wait --for` does.
    """
    if text in {None, STDIN} and line:
        raise click.UsageError("--line needs TEXT: stdin is sent as it is")
    connection, wanted = invocation.connect(), Step(**step)
    began_s, since = time.monotonic(), 0
    if not wanted.is_empty:
        since = int(session_of(connection, session)["output"]["next"])
    further = wanted.query(since)
    if text is not None and text != STDIN:
        content = os.fsencode(text) + (b"\n" if line else b"")
        answer = _send(connection, session, content, None, close=eof, further=further)
    elif eof and text is None and is_terminal(0):
        answer = _send(connection, session, b"", None, close=True, further=further)
    else:
        answer = _send_stdin(connection, session, close=eof, further=further)
    if not wanted.is_empty:
        return wanted.finish(connection, answer, since, began_s, as_json=invocation.as_json)
    if invocation.as_json:
        print_json({"next": answer["next"]})
    return Exit.OK


def _send_stdin(
    connection: Connection, session: str, *, close: bool, further: dict[str, str]
) -> dict[str, Any]:
    """Send all of stdin, piece by piece at its offset, so that no repeat doubles a byte.

    With a step the last piece is held back until the end is known, since it carries the step.
    """
    offset = int(session_of(connection, session)["input"]["next"])
    held = b""
    while content := os.read(0, PIECE_BYTES):
        content, held = (held, content) if further else (content, b"")
        if content:
            offset = int(_send(connection, session, content, offset)["next"])
    if not (held or close or further):
        return {"next": offset}
    return _send(connection, session, held, offset, close=close, further=further)


def _send(
    connection: Connection,
    session: str,
    content: bytes,
    offset: int | None,
    *,
    close: bool = False,
    further: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Append; the daemon's answer. `further` are the fields of a step."""
    query: Query = {"offset": offset, "close": close or None, **(further or {})}
    answer: dict[str, Any] = resolved(
        connection,
        session,
        lambda known: connection.call(
            "POST", path_of(known, "input"), query=query, body=content,
            repeatable=offset is not None,
        ),
    )  # fmt: skip
    return answer

"""Arguments and options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from holdfast.cli.invocation import Invocation
from holdfast.errors import HoldfastError

__all__ = [
    "complete_sessions",
    "json_option",
    "label_option",
    "pairs",
    "print_json",
    "session_argument",
    "sessions_argument",
    "size_of",
]

F = TypeVar("F", bound=Callable[..., Any])
LARGEST_SIZE = 65535


def complete_sessions(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names and IDs of sessions, for the shell; nothing where no daemon answers."""
    del ctx, param
    try:
        sessions = list(Invocation(asks=False).connect(autostart=False).sessions())
    except HoldfastError:
        return []
    words = {word: session for session in sessions for word in (session["name"], session["id"])}
    return [
        CompletionItem(word, help=f"{session['state']} {_words(session['command'])}")
        for word, session in words.items()
        if word and word.startswith(incomplete)
    ]


def _words(command: list[str] | str | None) -> str:
    """The command in one line without control characters, for the shell's menu."""
    text = command if isinstance(command, str) else " ".join(command or ["(shell)"])
    return "".join(filter(str.isprintable, text))[:60]


def session_argument(function: F) -> F:
    """One session: ID, name, or at least 4 characters of an ID's beginning or end."""
    return click.argument("session", shell_complete=complete_sessions)(function)


def sessions_argument(*, required: bool = False) -> Callable[[F], F]:
    """Any number of sessions."""
    return click.argument("sessions", nargs=-1, required=required, shell_complete=complete_sessions)


def json_option(function: F) -> F:
    """--json: the daemon's own objects, errors as well."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_note_json, help="Print JSON."
    )(function)


def _note_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.find_root().obj.as_json = True


def label_option(help_text: str) -> Callable[[F], F]:
    """-l, --label KEY=VALUE, any number of times."""
    return click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help=help_text)


def pairs(given: Iterable[str], what: str) -> dict[str, str]:
    """`K=V` words as a mapping; raises a usage error for a word without `=`."""
    found = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{what} {word!r}: KEY=VALUE is expected")
        found[key] = value
    return found


def size_of(text: str) -> dict[str, int]:
    """A terminal's size, `{rows, cols}`, from ROWSxCOLS; raises a usage error."""
    rows, _, cols = text.partition("x")
    if not (rows.isdecimal() and cols.isdecimal()):
        raise click.BadParameter(f"{text!r}: rows and columns are expected, as in 24x80")
    if not all(1 <= int(cells) <= LARGEST_SIZE for cells in (rows, cols)):
        raise click.BadParameter(f"{text!r}: rows and columns are 1 to {LARGEST_SIZE}")
    return {"rows": int(rows), "cols": int(cols)}


def print_json(value: Any) -> None:
    """One JSON document on stdout; on a terminal indented."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, ensure_ascii=indent is None))

"""Finds the session that a person means by an ID, a name, or a part of an ID.

Rules
- The daemon decides first: an exact ID, a live name, the newest finished session of that name.
- Only what it does not know is looked for as the unique beginning or end of an ID, of at least
  `SHORTEST` characters. Several are listed, never chosen from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure
from holdfast.errors import NotFound

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["matching", "path_of", "resolved", "session_of"]

SHORTEST = 4
T = TypeVar("T")


def path_of(ref: str, below: str = "") -> str:
    """The session's path; no character of `ref` can lead to another route."""
    return f"/v1/sessions/{quote(ref, safe='')}" + (f"/{below}" if below else "")


def matching(part: str, ids: Iterable[str]) -> list[str]:
    """The IDs that begin or end with `part`, in any case, sorted."""
    low = part.lower()
    if len(part) < SHORTEST:
        return []
    return sorted(one for one in ids if one.lower().startswith(low) or one.lower().endswith(low))


def resolved(connection: Connection, ref: str, call: Callable[[str], T]) -> T:
    """Return `call(ref)`; when the daemon knows no such session, of the ID that `ref` is part of.

    Raises `Failure` (66) when there is none, or more than one.
    """
    try:
        return call(ref)
    except NotFound as error:
        missing = error
    found = matching(ref, (session["id"] for session in connection.sessions()))
    if len(found) == 1:
        return call(found[0])
    if found:
        raise Failure(f"{ref!r} could be any of {', '.join(found)}", Exit.NO_SESSION) from missing
    raise Failure(f"no session {ref!r} (see `hold ls -a`)", Exit.NO_SESSION) from missing


def session_of(connection: Connection, ref: str) -> dict[str, Any]:
    """The session's view."""
    found: dict[str, Any] = resolved(connection, ref, lambda known: connection.get(path_of(known)))
    return found

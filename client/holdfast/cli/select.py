"""The sessions that a verb for several of them means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["ALIVE", "ENDED", "selected"]

ALIVE = ("starting", "running", "stopping", "backoff")
ENDED = ("exited", "lost")


def selected(
    connection: Connection,
    sessions: tuple[str, ...],
    labels: tuple[str, ...],
    *,
    every: bool,
    finished: bool = False,
) -> list[str]:
    """The sessions named, or all live ones (or `finished` ones) with the labels, or just all.

    Naming none in any of the three ways is a usage error: nothing is stopped by forgetting a word.
    """
    if sessions and (labels or every):
        raise click.UsageError("name sessions, or give -l or --all, not both")
    if sessions:
        return list(sessions)
    if not labels and not every:
        raise click.UsageError("name a session, or give -l K=V or --all")
    query = {"state": ENDED if finished else ALIVE, "label": list(labels)}
    return [session["id"] for session in connection.sessions(query)]

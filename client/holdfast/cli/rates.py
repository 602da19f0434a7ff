"""What sessions use per second, from two answers of the daemon.

Rules
- CPU is counted between the times at which the daemon looked (`usage.at`), which with very many
  sessions are farther apart than its answers; the same look again keeps the figure.
- Without an answer before, and for a new generation, it is the mean since the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

__all__ = ["Rates"]

Row = dict[str, Any]


class Rates:
    """Remembers the last answer; `rows` takes the next one."""

    def __init__(self) -> None:
        self._before: dict[str, Row] = {}

    def rows(self, sessions: Iterable[dict[str, Any]], now: datetime) -> list[Row]:
        """One row for each session, with `cpu_percent` of a core and `output_bytes_per_s`."""
        rows = [_row(one, self._before.get(one["id"]), now) for one in sessions]
        self._before = {row["id"]: row for row in rows}
        return rows


def _row(session: dict[str, Any], before: Row | None, now: datetime) -> Row:
    usage = session.get("usage")
    row: Row = {
        "id": session["id"],
        "name": session["name"],
        "state": session["state"],
        "generation": session["generation"],
        "cpu_seconds": usage["cpu_seconds"] if usage else None,
        "memory_bytes": usage["memory_bytes"] if usage else None,
        "processes": usage["processes"] if usage else None,
        "usage_at": usage["at"] if usage else None,
        "output_next": session["output"]["next"],
        "ports": [one["port"] for one in session["ports"]],
        "attached": len(session["attachments"]),
        "command": session["command"],
        "shell": session["shell"],
        "at": now.isoformat(),
    }
    if before is not None and before["generation"] != row["generation"]:
        before = None
    row["cpu_percent"] = _cpu_percent(row, before, session["started_at"])
    row["output_bytes_per_s"] = _output_rate(row, before, session["created_at"])
    return row


def _cpu_percent(row: Row, before: Row | None, started_at: str | None) -> float | None:
    if row["cpu_seconds"] is None:
        return None
    if before is None or before["cpu_seconds"] is None:
        used, since = row["cpu_seconds"], started_at
    elif before["usage_at"] == row["usage_at"]:
        percent: float | None = before["cpu_percent"]
        return percent
    else:
        used, since = row["cpu_seconds"] - before["cpu_seconds"], before["usage_at"]
    seconds = _seconds(since, row["usage_at"])
    return round(100 * float(used) / seconds, 1)


def _output_rate(row: Row, before: Row | None, created_at: str) -> int:
    bytes_, since = int(row["output_next"]), created_at
    if before is not None:
        bytes_, since = bytes_ - int(before["output_next"]), before["at"]
    return round(bytes_ / _seconds(since, row["at"]))


def _seconds(since: str | None, until: str) -> float:
    """Seconds between two times, never so few that a rate has no meaning."""
    if since is None:
        return 1.0
    return max(
        0.05, (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
    )

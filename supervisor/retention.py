"""Which finished sessions have been kept long enough: a pure decision."""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.records import SessionRecord
from supervisor.settings import SupervisorSettings

__all__ = ["outdated"]

_US = 1_000_000


def outdated(
    records: Iterable[SessionRecord], now_us: int, settings: SupervisorSettings
) -> list[str]:
    """Return the IDs of sessions to prune: too old, or too many, the longest-finished first.

    `exec` sessions have bounds of their own. A session with kept leftovers is not finished.
    """
    finished = sorted(
        (record for record in records if record.state.ended and not record.kept),
        key=lambda record: record.ended_at_us or 0,
    )
    execs = [record for record in finished if record.kind == "exec"]
    others = [record for record in finished if record.kind != "exec"]
    return [
        *_over(execs, settings.exec_finished, now_us - int(settings.exec_s * _US)),
        *_over(others, settings.finished, now_us - int(settings.finished_s * _US)),
    ]


def _over(oldest_first: list[SessionRecord], count: int, before_us: int) -> list[str]:
    surplus = len(oldest_first) - count
    return [
        record.id
        for place, record in enumerate(oldest_first)
        if place < surplus or (record.ended_at_us or 0) < before_us
    ]

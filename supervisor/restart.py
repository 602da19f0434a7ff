"""Whether a child that ended is started again, and when: pure decisions.

- `never` never; `always` after any end; `on_failure` after all but an exit with status 0. Only
  while the session is wanted to run: after a stop, a kill or a timeout nothing follows.
- A first child that could not be started is not tried again: who asked for it was told.
- The wait doubles with each restart of the last `window` seconds, from `initial` to `max`. A tenth
  more or less, fixed by the session and its generation, keeps many sessions from coming back at
  the same instant.
- More than `intensity` restarts within `window` seconds: it gave up (the words are Erlang's).
"""

from __future__ import annotations

import hashlib
import os
from enum import StrEnum

from supervisor.records import SessionRecord, State

__all__ = ["Verdict", "by_policy", "delay_s", "verdict_on"]

_JITTER = 0.1
_DOUBLINGS = 32  # beyond that any wait is over its maximum


class Verdict(StrEnum):
    """What follows an end."""

    NOTHING = "nothing"
    AGAIN = "again"
    GAVE_UP = "gave_up"


def verdict_on(record: SessionRecord, now_s: float) -> Verdict:
    """Decide about a generation whose end is known; `now_s` is monotonic."""
    policy = record.spec.restart.policy
    if policy == "never" or record.desired != "running":
        return Verdict.NOTHING
    if record.spawn_error is not None and record.generation == 1:
        return Verdict.NOTHING
    if policy == "on_failure" and _succeeded(record):
        return Verdict.NOTHING
    if len(_recent(record, now_s)) >= record.spec.restart.intensity:
        return Verdict.GAVE_UP
    return Verdict.AGAIN


def delay_s(record: SessionRecord, now_s: float) -> float:
    """Return how long to wait before the next child."""
    restart = record.spec.restart
    doublings = min(len(_recent(record, now_s)), _DOUBLINGS)
    return min(restart.initial * 2.0**doublings, restart.max) * _jitter(record)


def by_policy(record: SessionRecord, end: State, now_s: float) -> SessionRecord:
    """Return the record in state `end`, or waiting for the next child."""
    match verdict_on(record, now_s):
        case Verdict.NOTHING:
            return record.but(state=end)
        case Verdict.GAVE_UP:
            return record.but(state=end, gave_up=True)
        case Verdict.AGAIN:
            until_s = now_s + delay_s(record, now_s)
            restarted_s = (*_recent(record, now_s), until_s)
            return record.but(state=State.BACKOFF, backoff_until_s=until_s, restarted_s=restarted_s)


def _recent(record: SessionRecord, now_s: float) -> tuple[float, ...]:
    """Return the times of the policy's restarts within its window, oldest first."""
    since_s = now_s - record.spec.restart.window
    return tuple(at_s for at_s in record.restarted_s if at_s > since_s)


def _jitter(record: SessionRecord) -> float:
    seed = hashlib.sha256(f"{record.id}:{record.generation}".encode()).digest()
    return 1 + _JITTER * (seed[0] / 127.5 - 1)


def _succeeded(record: SessionRecord) -> bool:
    status = record.status
    return (
        record.spawn_error is None
        and status is not None
        and os.WIFEXITED(status)
        and os.WEXITSTATUS(status) == 0
    )

"""What an exec answers, from how it ended and what was collected."""

from __future__ import annotations

import base64
import time
from typing import Literal

from api.collector import Collector
from api.errors import TimedOut
from api.text import HeadTail, decode
from holdfast import wire
from supervisor.errors import Conflict
from supervisor.records import Outcome, OutcomeKind, SessionRecord
from supervisor.session import Session

__all__ = ["result_of", "result_so_far"]

Encoding = Literal["text", "base64"]


def result_of(session: Session, collector: Collector, encoding: Encoding) -> wire.ExecResult:
    """Return the result. Raises TimedOut, and Conflict when the session was restarted meanwhile."""
    record = session.record
    outcome = record.outcome
    if outcome is None or record.generation != collector.generation:
        message = "The session was restarted; its first process's exit is no longer known."
        raise Conflict(message, session_id=record.id)
    stdout, stdout_omitted = _shown(collector.stdout, encoding)
    stderr, stderr_omitted = _shown(collector.stderr, encoding, _reason(outcome))
    if outcome.kind is OutcomeKind.TIMED_OUT:
        which = str(outcome.detail["which"])
        limit = getattr(record.timeouts, which) or getattr(record.spec.timeouts, which) or 0
        raise TimedOut(
            f"Command execution timed out after {limit:g} seconds",
            session_id=record.id,
            stdout=stdout,
            stderr=stderr,
        )
    omitted = stdout_omitted + stderr_omitted
    return wire.ExecResult(
        state=record.state.shown,
        next_offset=collector.offset,
        exit_code=outcome.exit_code,
        stdout=stdout,
        stderr=stderr,
        signal=outcome.signal,
        outcome=outcome.kind.value,
        truncated=bool(omitted),
        omitted=omitted,
        session_id=record.id,
        duration=_duration_s(record),
    )


def result_so_far(session: Session, collector: Collector, encoding: Encoding) -> wire.ExecResult:
    """Return what is known of a command that was left running."""
    record = session.record
    stdout, stdout_omitted = _shown(collector.stdout, encoding)
    stderr, stderr_omitted = _shown(collector.stderr, encoding)
    omitted = stdout_omitted + stderr_omitted
    return wire.ExecResult(
        state=record.state.shown,
        exit_code=None,
        stdout=stdout,
        stderr=stderr,
        signal=None,
        outcome=None,
        next_offset=collector.offset,
        truncated=bool(omitted),
        omitted=omitted,
        session_id=record.id,
        duration=max(0.0, (time.time_ns() // 1000 - record.created_at_us) / 1_000_000),
    )


def _reason(outcome: Outcome) -> bytes:
    """Why a program could not be executed stands where a shell would have put it."""
    if outcome.kind is OutcomeKind.SPAWN_FAILED:
        return f"{outcome.message}\n".encode()
    return b""


def _shown(
    stream: HeadTail, encoding: Encoding, behind: bytes = b""
) -> tuple[str, list[wire.Omitted]]:
    data, omitted = stream.result()
    data += behind
    text = base64.b64encode(data).decode() if encoding == "base64" else decode(data)
    return text, [wire.Omitted(from_=omitted[0], to=omitted[1])] if omitted else []


def _duration_s(record: SessionRecord) -> float:
    ended_us = record.ended_at_us or record.created_at_us
    return max(0.0, (ended_us - (record.started_at_us or record.created_at_us)) / 1_000_000)

"""How a generation ended: a pure function of what is known, first match wins.

Exit code 0 comes from a wait status of 0 and from nowhere else.
"""

from __future__ import annotations

import errno as errno_names
import os

from supervisor.records import Delivered, Outcome, OutcomeKind, SessionRecord
from supervisor.signals import signal_name

__all__ = ["BEFORE_EXEC", "NOT_EXECUTABLE", "NOT_FOUND", "outcome_of"]

NOT_FOUND = 127
NOT_EXECUTABLE = 126
BEFORE_EXEC = 125
_SIGNAL_BASE = 128
_LAST_SIGNAL = 64
_MISSING = (errno_names.ENOENT, errno_names.ENOTDIR)


def outcome_of(record: SessionRecord) -> Outcome:
    """Return the outcome of the record's generation.

    Reads `spawn_error`, `status`, `lost_reason`, `cause` and `delivered`. A status that is not
    known is `lost`, whatever else happened.
    """
    if record.spawn_error is not None:
        return _spawn_failed(record)
    if record.status is None or not _is_end(record.status):
        reason = record.lost_reason or "keeper_died"
        message = f"lost: the exit status is not known ({reason})"
        return Outcome(OutcomeKind.LOST, None, None, message, {"reason": reason})
    if os.WIFSIGNALED(record.status):
        return _by_signal(record, os.WTERMSIG(record.status))
    return _by_itself(record, os.WEXITSTATUS(record.status))


def _is_end(status: int) -> bool:
    """Whether the kernel gives this status to a process that ended (wait(2))."""
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) <= _LAST_SIGNAL
    return status & 0xFF == 0


def _spawn_failed(record: SessionRecord) -> Outcome:
    failure = record.spawn_error or {}
    number, stage = int(failure.get("errno", 0)), str(failure.get("stage", "exec"))
    code = BEFORE_EXEC
    if stage == "exec":
        code = NOT_FOUND if number in _MISSING else NOT_EXECUTABLE
    detail = {"errno": errno_names.errorcode.get(number, str(number)), "stage": stage}
    message = _why_not_started(record, number, stage, str(failure.get("message", "")))
    return Outcome(OutcomeKind.SPAWN_FAILED, code, None, message, detail)


def _why_not_started(record: SessionRecord, number: int, stage: str, told: str) -> str:
    """Return one sentence with what was to be done and the kernel's word for why not."""
    command = record.spec.command
    program = command[0] if isinstance(command, tuple) and command else "the shell"
    match stage:
        case "exec":
            return f"cannot execute {program}: {os.strerror(number)}"
        case "cwd":
            place = record.spec.cwd or "the home directory"
            return f"cannot enter {place}: {os.strerror(number)}"
        case _:
            return f"could not be started: {told or os.strerror(number)}"


def _by_signal(record: SessionRecord, number: int) -> Outcome:
    name, code = signal_name(number), _SIGNAL_BASE + number
    if timed_out := _timed_out(record, code, name):
        return timed_out
    sender = _sender(record.delivered, number)
    if sender is None:
        return Outcome(OutcomeKind.SIGNALED, code, name, f"ended by {name}")
    who = sender.by.user or sender.by.token or sender.by.via
    detail = {"by": who, "command_id": sender.command_id or None, "signal": name}
    return Outcome(OutcomeKind.KILLED, code, name, f"ended by {name}, sent by {who}", detail)


def _by_itself(record: SessionRecord, code: int) -> Outcome:
    if timed_out := _timed_out(record, code, None):
        return timed_out
    detail = {}
    if record.cause is not None and record.delivered:
        detail = {"command_id": record.cause.command_id}
    return Outcome(OutcomeKind.EXITED, code, None, f"exited with status {code}", detail)


def _timed_out(record: SessionRecord, code: int, name: str | None) -> Outcome | None:
    if record.cause is None or record.cause.timeout is None:
        return None
    which = record.cause.timeout
    limit_s = getattr(record.timeouts, which)
    limit = f" after {limit_s:g} s" if limit_s else ""
    message = f"ended by its {which} timeout{limit}"
    return Outcome(OutcomeKind.TIMED_OUT, code, name, message, {"which": which})


def _sender(delivered: tuple[Delivered, ...], number: int) -> Delivered | None:
    return next((entry for entry in reversed(delivered) if entry.signal == number), None)

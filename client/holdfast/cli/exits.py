"""What `hold` exits with.

Rules
- Where a command stands for a child, the child's status passes through: n, or 128+n for signal n.
- Never 0 for an outcome that is not known to be 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

__all__ = ["Exit", "exit_of_error", "exit_of_session"]


class Exit(IntEnum):
    """Exit codes that are `hold`'s own; 64, 66 and 69 are those of sysexits.h."""

    OK = 0
    FAILURE = 1
    ENDED_FIRST = 3
    USAGE = 64
    NO_SESSION = 66
    UNREACHABLE = 69
    LOST = 70
    STILL_RUNNING = 75
    TIMEOUT = 124
    NOT_STARTED = 125
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    BROKEN_PIPE = 141


OF_CODE = {
    "NOT_FOUND": Exit.NO_SESSION,
    "GONE": Exit.NO_SESSION,
    "BAD_REQUEST": Exit.USAGE,
    "VALIDATION_FAILED": Exit.USAGE,
    "TIMEOUT": Exit.TIMEOUT,
    "UNREACHABLE": Exit.UNREACHABLE,
    "NODE_UNREACHABLE": Exit.UNREACHABLE,
    "UNAVAILABLE": Exit.UNREACHABLE,
}
MISSING = ("ENOENT", "ENOTDIR")


def exit_of_session(session: Mapping[str, Any]) -> int:
    """The exit code for an ended session, from its outcome and the kernel's status."""
    outcome, status = session.get("outcome"), session.get("exit_code")
    if outcome == "timed_out":
        return Exit.TIMEOUT
    if outcome == "lost":
        return Exit.LOST
    if outcome == "spawn_failed":
        return status or Exit.NOT_STARTED
    return Exit.LOST if status is None else int(status)


def exit_of_error(code: str, details: Mapping[str, Any], *, starting: bool) -> int:
    """The exit code for a refusal by the daemon.

    `starting`: the command was to run something, so that a refusal means "failed before the
    command ran" (125), or 127 and 126 when the program is missing or cannot be executed.
    """
    if starting and details.get("stage") == "exec":
        return Exit.NOT_FOUND if details.get("errno") in MISSING else Exit.NOT_EXECUTABLE
    exit_code = OF_CODE.get(code, Exit.FAILURE)
    if starting and exit_code in {Exit.USAGE, Exit.FAILURE}:
        return Exit.NOT_STARTED
    return exit_code

"""Exit codes are the child's where there is one, and never an invented 0."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli.exits import exit_of_error, exit_of_session


@pytest.mark.parametrize(
    ("outcome", "status", "exit_code"),
    [
        ("exited", 0, 0),
        ("exited", 7, 7),
        ("signaled", 139, 139),
        ("killed", 137, 137),
        ("out_of_memory", 137, 137),
        ("timed_out", 143, 124),
        ("timed_out", 0, 124),
        ("spawn_failed", 127, 127),
        ("spawn_failed", 126, 126),
        ("spawn_failed", None, 125),
        ("lost", None, 70),
        ("exited", None, 70),
        (None, None, 70),
    ],
)
def test_a_session_gives_its_exit_code(outcome: str, status: int | None, exit_code: int) -> None:
    assert exit_of_session({"outcome": outcome, "exit_code": status}) == exit_code


@pytest.mark.parametrize(
    ("code", "details", "starting", "exit_code"),
    [
        ("NOT_FOUND", {}, False, 66),
        ("NOT_FOUND", {}, True, 66),
        ("GONE", {}, False, 66),
        ("VALIDATION_FAILED", {}, False, 64),
        ("BAD_REQUEST", {}, True, 125),
        ("BAD_REQUEST", {"stage": "cwd", "errno": "ENOENT"}, True, 125),
        ("SPAWN_FAILED", {"stage": "exec", "errno": "ENOENT"}, True, 127),
        ("BAD_REQUEST", {"stage": "exec", "errno": "EACCES"}, True, 126),
        ("BAD_REQUEST", {"stage": "exec", "errno": "ENOEXEC"}, True, 126),
        ("TIMEOUT", {}, True, 124),
        ("UNREACHABLE", {}, True, 69),
        ("INTERNAL", {}, False, 1),
        ("INTERNAL", {}, True, 125),
        ("CONFLICT", {}, False, 1),
    ],
)
def test_a_refusal_gives_its_exit_code(
    code: str, details: dict[str, Any], *, starting: bool, exit_code: int
) -> None:
    assert exit_of_error(code, details, starting=starting) == exit_code

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from supervisor.outcome import outcome_of
from supervisor.records import By, Delivered, OutcomeKind, State, Timeouts
from supervisor.signals import signal_name
from tests.unit.supervisor.samples import ME, cause, record

K = OutcomeKind
SENT_TERM = (Delivered(15, ME, "c1"),)


def failed(number: int, stage: str = "exec") -> dict[str, Any]:
    return {"spawn_error": {"errno": number, "stage": stage, "message": "because"}}


@pytest.mark.parametrize(
    ("known", "kind", "code"),
    [
        (failed(errno.ENOENT), K.SPAWN_FAILED, 127),
        (failed(errno.ENOTDIR), K.SPAWN_FAILED, 127),
        (failed(errno.EACCES), K.SPAWN_FAILED, 126),
        (failed(errno.ENOEXEC), K.SPAWN_FAILED, 126),
        (failed(errno.ENOENT, "cwd"), K.SPAWN_FAILED, 125),
        (failed(errno.EINVAL, "user"), K.SPAWN_FAILED, 125),
        (failed(errno.ENOENT) | {"status": 0}, K.SPAWN_FAILED, 127),
        ({}, K.LOST, None),
        ({"cause": cause("timeout")}, K.LOST, None),
        ({"cause": cause("kill"), "delivered": SENT_TERM}, K.LOST, None),
        ({"status": 0, "cause": cause("timeout")}, K.TIMED_OUT, 0),
        ({"status": 15, "cause": cause("timeout"), "delivered": SENT_TERM}, K.TIMED_OUT, 143),
        ({"status": 15, "delivered": SENT_TERM}, K.KILLED, 143),
        ({"status": 9, "delivered": SENT_TERM}, K.SIGNALED, 137),
        ({"status": 15}, K.SIGNALED, 143),
        ({"status": 11 | 0x80}, K.SIGNALED, 139),
        ({"status": 0, "delivered": SENT_TERM, "cause": cause("stop")}, K.EXITED, 0),
        ({"status": 0}, K.EXITED, 0),
        ({"status": 255 << 8}, K.EXITED, 255),
    ],
)
def test_the_first_match_in_the_contracts_order_counts(
    known: dict[str, Any], kind: OutcomeKind, code: int | None
) -> None:
    outcome = outcome_of(record(State.DRAINING, **known))
    assert (outcome.kind, outcome.exit_code) == (kind, code)


def test_zero_comes_from_a_wait_status_of_zero_and_from_nowhere_else() -> None:
    base = record(State.DRAINING)
    others = [base.but(cause=cause("timeout")), base.but(delivered=SENT_TERM)]
    for status in range(65536):
        for each in (base, *others) if status < 512 else (base,):
            outcome = outcome_of(each.but(status=status))
            assert (outcome.exit_code == 0) == (status == 0), status
            given = status & 0xFF == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) <= 64)
            assert (outcome.exit_code is None) == (outcome.kind is K.LOST) == (not given), status


def test_no_status_is_never_a_number() -> None:
    for reason in ("reboot", "keeper_died", None):
        outcome = outcome_of(record(lost_reason=reason))
        assert (outcome.exit_code, outcome.signal) == (None, None)
        assert outcome.detail == {"reason": reason or "keeper_died"}


def test_a_signal_is_named_and_is_its_number_plus_128() -> None:
    for number in range(1, 65):
        outcome = outcome_of(record(status=number))
        assert (outcome.exit_code, outcome.signal) == (128 + number, signal_name(number))


def test_a_failed_start_names_errno_and_stage() -> None:
    outcome = outcome_of(record(**failed(errno.EACCES, "cwd")))
    assert outcome.detail == {"errno": "EACCES", "stage": "cwd"}
    assert outcome.message == "cannot enter the home directory: Permission denied"
    outcome = outcome_of(record(**failed(errno.EINVAL, "user")))
    assert outcome.message == "could not be started: because"


def test_the_last_sender_of_the_ending_signal_is_named() -> None:
    sent = (Delivered(15, By(user="bob"), "c1"), Delivered(15, By(token="t"), "c2"))
    outcome = outcome_of(record(status=15, delivered=sent))
    assert outcome.detail == {"by": "t", "command_id": "c2", "signal": "SIGTERM"}


def test_a_stop_that_it_obeyed_is_named_with_its_exit() -> None:
    stopped = record(status=3 << 8, cause=cause("stop"), delivered=SENT_TERM)
    assert outcome_of(stopped).detail == {"command_id": "c1"}
    assert outcome_of(record(status=3 << 8)).detail == {}


def test_a_timeout_says_which_and_after_how_long() -> None:
    outcome = outcome_of(record(status=15, cause=cause("timeout"), timeouts=Timeouts(run=1.5)))
    assert outcome.detail == {"which": "run"}
    assert "1.5 s" in outcome.message

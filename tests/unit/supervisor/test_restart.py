"""Whether and when a child is started again, without a clock or a process."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.records import RestartSpec, SessionRecord, Spec, State
from supervisor.restart import Verdict, by_policy, delay_s, verdict_on
from tests.unit.supervisor.samples import record

CRASHED, DONE, KILLED = 1 << 8, 0, 9
NOW_S = 1000.0


def ended(policy: str, status: int | None = CRASHED, **fields: Any) -> SessionRecord:
    restart = fields.pop("restart", RestartSpec(policy))
    spec = Spec(command=("true",), restart=restart)
    return record(State.DRAINING, spec=spec, status=status, **fields)


@pytest.mark.parametrize(
    ("policy", "status", "verdict"),
    [
        ("never", CRASHED, Verdict.NOTHING),
        ("on_failure", DONE, Verdict.NOTHING),
        ("on_failure", CRASHED, Verdict.AGAIN),
        ("on_failure", KILLED, Verdict.AGAIN),
        ("on_failure", None, Verdict.AGAIN),
        ("always", DONE, Verdict.AGAIN),
        ("always", None, Verdict.AGAIN),
    ],
)
def test_the_policy_decides_by_the_end(policy: str, status: int | None, verdict: Verdict) -> None:
    assert verdict_on(ended(policy, status), NOW_S) is verdict


def test_nothing_follows_where_somebody_wanted_an_end() -> None:
    assert verdict_on(ended("always", desired="stopped"), NOW_S) is Verdict.NOTHING


def test_only_a_later_child_that_cannot_be_started_is_tried_again() -> None:
    error = {"errno": 2, "stage": "exec", "message": ""}
    first = ended("always", None, spawn_error=error)
    assert verdict_on(first, NOW_S) is Verdict.NOTHING
    assert verdict_on(first.but(generation=2), NOW_S) is Verdict.AGAIN
    on_failure = ended("on_failure", DONE, spawn_error=error, generation=2)
    assert verdict_on(on_failure, NOW_S) is Verdict.AGAIN


def test_waits_double_up_to_their_maximum_and_begin_anew_after_the_window() -> None:
    restart = RestartSpec("always", initial=1.0, max=5.0, intensity=100, window=60.0)
    for restarts, wait in ((0, 1), (1, 2), (2, 4), (3, 5), (90, 5)):
        one = ended("always", restart=restart, restarted_s=(NOW_S - 1.0,) * restarts)
        assert delay_s(one, NOW_S) == pytest.approx(wait, rel=0.1)
        assert delay_s(one, NOW_S + 61.0) == pytest.approx(1, rel=0.1)


def test_sessions_that_end_together_do_not_come_back_together() -> None:
    waits = {delay_s(ended("always", id=f"s{number}"), NOW_S) for number in range(50)}
    assert len(waits) > 40
    assert all(0.9 <= wait <= 1.1 for wait in waits)
    assert delay_s(ended("always", id="s1"), NOW_S) == delay_s(ended("always", id="s1"), NOW_S)


def test_it_is_given_up_after_so_many_restarts_within_the_window() -> None:
    restart = RestartSpec("always", intensity=3, window=10.0)
    one = ended("always", restart=restart, restarted_s=(995.0, 996.0, 997.0))
    assert verdict_on(one, NOW_S) is Verdict.GAVE_UP
    assert verdict_on(one, NOW_S + 6.0) is Verdict.AGAIN  # the first two are too long ago
    given_up = by_policy(one, State.EXITED, NOW_S)
    assert (given_up.state, given_up.gave_up) == (State.EXITED, True)


def test_the_record_says_when_the_next_child_is_due_and_forgets_old_restarts() -> None:
    one = ended("always", restarted_s=(1.0, 990.0))
    after = by_policy(one, State.EXITED, NOW_S)
    assert after.state is State.BACKOFF
    assert after.backoff_until_s is not None
    assert after.restarted_s == (990.0, after.backoff_until_s)
    assert after.backoff_until_s == NOW_S + delay_s(one, NOW_S)

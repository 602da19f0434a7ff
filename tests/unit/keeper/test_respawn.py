"""When a daemon is started again, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from supervisor.keeper.respawn import LONGEST_WAIT_S, STEADY_S, Respawner, wait_s

COMMAND = {"argv": ["/no/such/daemon"], "env": {}}


def test_the_waits_double_from_nothing_to_a_minute() -> None:
    assert [wait_s(n) for n in range(10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert wait_s(10_000) == LONGEST_WAIT_S


def crashed(respawner: Respawner, now: float, connected_s: float = 0.0) -> float | None:
    respawner.connected(COMMAND, now - connected_s)
    respawner.connection_ended(now)
    return None if respawner.due is None else respawner.due - now


def test_a_daemon_that_crashes_at_once_is_started_later_each_time() -> None:
    respawner = Respawner(1024)
    assert [crashed(respawner, 100.0) for _ in range(4)] == [0, 1, 2, 4]


def test_a_steady_connection_resets_the_count() -> None:
    respawner = Respawner(1024)
    assert [crashed(respawner, 100.0) for _ in range(3)] == [0, 1, 2]
    assert crashed(respawner, 200.0, STEADY_S) == 0


def test_a_connecting_daemon_cancels_the_wait() -> None:
    respawner = Respawner(1024)
    crashed(respawner, 100.0)
    respawner.connected(COMMAND, 101.0)
    assert respawner.due is None


@pytest.mark.parametrize(
    "ending",
    [
        lambda respawner: respawner.said_bye(1),
        lambda respawner: respawner.connected(None, 100.0),
    ],
)
def test_after_bye_or_without_a_command_nothing_is_started(
    ending: Callable[[Respawner], None],
) -> None:
    respawner = Respawner(1024)
    respawner.connected(COMMAND, 100.0)
    ending(respawner)
    respawner.connection_ended(101.0)
    assert respawner.due is None
    respawner.start(102.0)
    assert respawner.due is None
    assert respawner.pid is None


def test_a_start_that_fails_is_tried_again() -> None:
    respawner = Respawner(1024)
    crashed(respawner, 100.0)
    respawner.start(100.0)
    assert respawner.pid is None
    assert respawner.due == 101.0


def test_a_started_daemon_that_ends_without_connecting_is_tried_again() -> None:
    respawner = Respawner(1024)
    crashed(respawner, 100.0)
    respawner.due, respawner.pid = None, 1
    respawner.ended(100.5)
    assert respawner.due == 101.5


def test_a_started_daemon_that_connected_first_is_not_counted_twice() -> None:
    respawner = Respawner(1024)
    crashed(respawner, 100.0)
    respawner.due, respawner.pid = None, 1
    respawner.connected(COMMAND, 100.1)
    respawner.connection_ended(100.2)
    due = respawner.due
    respawner.ended(100.3)
    assert respawner.due == due == 101.2

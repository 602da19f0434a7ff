"""The idle and the disconnect timeout of a child, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.messages import DrainEnded, TimeExpired
from supervisor.records import Timeouts
from tests.unit.supervisor.test_child_drain import Watched

IDLE, ALONE = TimeExpired(2, "idle"), TimeExpired(2, "disconnect")


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.child.close()
    assert made.clock.pending() == []


def test_a_child_that_is_silent_and_gets_nothing_is_idle(watched: Watched) -> None:
    watched.child.begin_timeouts(Timeouts(idle=5.0), None)
    watched.clock.advance(4.9)
    assert watched.told == []
    watched.clock.advance(0.1)
    assert watched.told == [IDLE]


def test_output_and_input_put_the_idle_timeout_off(watched: Watched) -> None:
    watched.child.begin_timeouts(Timeouts(idle=5.0), None)
    watched.prints_for(20.0)
    watched.clock.advance(3.0)
    watched.child.last_active_s = watched.clock.monotonic()
    watched.clock.advance(4.9)
    assert watched.told == []
    watched.clock.advance(0.1)
    assert watched.told == [IDLE]


def test_a_child_that_is_not_read_is_not_idle(watched: Watched) -> None:
    watched.child.stalled = "disk"
    watched.child.begin_timeouts(Timeouts(idle=5.0), None)
    watched.clock.advance(60.0)
    assert watched.told == []
    watched.child.stalled = None
    watched.clock.advance(10.0)
    assert watched.told == [IDLE]


def test_nobody_attached_for_so_long_is_the_end(watched: Watched) -> None:
    watched.child.begin_timeouts(Timeouts(disconnect=5.0), None)
    watched.clock.advance(4.0)
    watched.child.attended(attached=True)
    watched.clock.advance(100.0)
    assert watched.told == []
    watched.child.attended(attached=False)
    watched.clock.advance(4.0)
    watched.child.attended(attached=False)
    watched.child.attended(attached=True)
    watched.child.attended(attached=False)
    watched.clock.advance(4.9)
    assert watched.told == []
    watched.clock.advance(0.1)
    assert watched.told == [ALONE]


def test_timeouts_can_be_changed_and_taken_away(watched: Watched) -> None:
    watched.child.begin_timeouts(Timeouts(idle=1.0, disconnect=1.0), None)
    watched.child.begin_timeouts(Timeouts(idle=50.0), None)
    watched.clock.advance(49.0)
    watched.child.begin_timeouts(Timeouts(), None)
    watched.clock.advance(100.0)
    assert watched.told == []


def test_a_child_that_has_ended_expires_no_more(watched: Watched) -> None:
    watched.child.begin_timeouts(Timeouts(idle=1.0, disconnect=1.0), None)
    watched.child.begin_drain()
    watched.child.attended(attached=False)
    watched.clock.advance(100.0)
    assert watched.told == [DrainEnded(2)]

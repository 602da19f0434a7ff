"""How long a child's output is waited for, on a clock that stands still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.child import DRAIN_S, SILENCE_S, Child
from supervisor.messages import DrainEnded, GraceExpired, TimeExpired
from supervisor.records import Timeouts
from tests.fake_session import VirtualClock


class Stand:
    """Holds a pidfd of this process and nothing else."""

    def __init__(self) -> None:
        self.generation = 2
        self.session = "x"
        self.pid = os.getpid()
        self.pidfd = os.pidfd_open(self.pid)
        self.master = None
        self.containment = self

    def close(self) -> None:
        pass


class Watched:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.told: list[Any] = []
        held: Any = Stand()
        keeper: Any = None
        self.child = Child(held, keeper, self.clock, self.told.append)

    def prints_for(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.child.last_output_s = self.clock.monotonic()


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.child.close()
    assert made.clock.pending() == []


def test_silence_ends_the_drain(watched: Watched) -> None:
    watched.child.begin_drain()
    watched.clock.advance(SILENCE_S - 0.01)
    assert watched.told == []
    watched.clock.advance(0.01)
    assert watched.told == [DrainEnded(2)]


def test_output_puts_the_end_off(watched: Watched) -> None:
    watched.child.begin_drain()
    watched.prints_for(3.0)
    watched.clock.advance(SILENCE_S - 0.01)
    assert watched.told == []
    watched.clock.advance(0.02)
    assert watched.told == [DrainEnded(2)]


def test_output_without_end_is_waited_for_so_long_and_no_longer(watched: Watched) -> None:
    watched.child.begin_drain()
    watched.prints_for(DRAIN_S - 0.1)
    assert watched.told == []
    watched.prints_for(0.2)
    assert watched.told == [DrainEnded(2)]


def test_time_in_which_the_pump_may_not_read_does_not_count(watched: Watched) -> None:
    watched.child.stalled = "disk"
    watched.child.begin_drain()
    watched.clock.advance(100 * DRAIN_S)
    assert watched.told == []
    watched.child.stalled = None
    watched.clock.advance(SILENCE_S + 0.6)
    assert watched.told == [DrainEnded(2)]


def test_the_drain_takes_the_other_timers_away(watched: Watched) -> None:
    watched.child.begin_grace(1.0)
    watched.child.begin_timeouts(Timeouts(1.0), watched.clock.monotonic() + 1.0)
    watched.child.begin_drain()
    watched.clock.advance(100.0)
    assert watched.told == [DrainEnded(2)]


def test_a_grace_only_ever_gets_shorter(watched: Watched) -> None:
    watched.child.begin_grace(5.0)
    watched.child.begin_grace(50.0)
    watched.child.begin_grace(1.0)
    watched.clock.advance(1.0)
    assert watched.told == [GraceExpired(2)]
    watched.clock.advance(100.0)
    assert watched.told == [GraceExpired(2)]


def test_a_deadline_that_has_passed_is_told_at_once_and_none_takes_it_away(
    watched: Watched,
) -> None:
    watched.child.begin_timeouts(Timeouts(1.0), watched.clock.monotonic() - 5.0)
    watched.clock.advance(0.0)
    assert watched.told == [TimeExpired(2, "run")]
    watched.child.begin_timeouts(Timeouts(5.0), watched.clock.monotonic() + 5.0)
    watched.child.begin_timeouts(Timeouts(), None)
    watched.clock.advance(100.0)
    assert watched.told == [TimeExpired(2, "run")]

from __future__ import annotations

from holdfast.backoff import FIRST_S, LONGEST_S, Backoff


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_delays_double_up_to_two_seconds() -> None:
    backoff = Backoff(patience_s=1e9, clock=Time())
    delays = [backoff.delay() or 0 for _ in range(12)]
    for at, delay in enumerate(delays):
        longest = min(LONGEST_S, FIRST_S * 2**at)
        assert longest / 2 <= delay <= longest


def test_patience_counts_from_the_first_failure() -> None:
    time = Time()
    backoff = Backoff(patience_s=10, clock=time)
    time.now = 200
    assert backoff.delay() is not None
    time.now = 209.999
    last = backoff.delay()
    assert last is not None
    assert last <= 0.0011
    time.now = 210
    assert backoff.delay() is None


def test_success_starts_patience_anew() -> None:
    time = Time()
    backoff = Backoff(patience_s=10, clock=time)
    backoff.delay()
    time.now = 109
    backoff.reset()
    time.now = 500
    delay = backoff.delay()
    assert delay is not None
    assert delay <= FIRST_S


def test_without_patience_nothing_is_tried_again() -> None:
    assert Backoff(patience_s=0, clock=Time()).delay() is None

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from supervisor.conditions import (
    Condition,
    UntilChange,
    UntilEnded,
    UntilExit,
    UntilHttp,
    UntilIdle,
    UntilLog,
    UntilPort,
    UntilReady,
)
from supervisor.errors import Conflict
from supervisor.listeners import Listener, Listening
from supervisor.log_search import Search
from supervisor.log_watch import _watches
from supervisor.records import ReadyWhen, State
from supervisor.senses import HttpAnswer
from supervisor.waits import Wait, Waited, wait_for
from tests.fake_session import STARTED_US, FakeSession, VirtualClock, turns


class Ports:
    """What /proc and the network say, and when /proc was asked.

    `answers` is what each URL answers; a future is an answer still to come.
    """

    def __init__(self) -> None:
        self.found = Listening()
        self.asked_at_s: list[float] = []
        self.answers: dict[str, HttpAnswer | asyncio.Future[HttpAnswer]] = {}
        self.clock: VirtualClock

    def compile(self, pattern: str) -> Search:
        raise NotImplementedError(pattern)

    async def get(self, url: str) -> HttpAnswer:
        answer = self.answers[url]
        return answer if isinstance(answer, HttpAnswer) else await answer

    async def listen(self, pids: Collection[int], port: int | None) -> Listening:
        self.asked_at_s.append(self.clock.now_s - 1000.0)
        assert list(pids) == [42]
        own = tuple(one for one in self.found.own if port in (None, one.port))
        return Listening(own, self.found.foreign)


class Waiter:
    """One wait under way, on a virtual clock."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.clock = VirtualClock()
        self.ports = Ports()
        self.ports.clock = self.clock
        self.task: asyncio.Task[Waited]

    async def begin(self, *conditions: Condition, timeout_s: float = 30, **more: Any) -> None:
        wait = Wait(self.session, conditions, self.clock, **more)
        self.task = asyncio.create_task(wait_for(wait, timeout_s, self.ports))
        await turns()

    async def passes(self, seconds: float) -> None:
        """Let time pass, in steps small enough for every timer that is set on the way."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            await turns(5)

    async def answer(self) -> Waited:
        await turns(30)
        assert self.task.done()
        return self.task.result()

    @property
    def waits(self) -> bool:
        return not self.task.done()


@pytest.fixture
async def waiter() -> Any:
    one = Waiter()
    yield one
    one.task.cancel()
    await asyncio.gather(one.task, return_exceptions=True)
    assert one.clock.pending() == []
    assert _watches == {}


async def test_exit_waits_for_the_outcome(waiter: Waiter) -> None:
    await waiter.begin(UntilExit())
    assert waiter.waits
    waiter.session.exits(3)
    answer = await waiter.answer()
    assert (answer.met, answer.reason) == (0, "met")
    assert answer.evidence == {
        "generation": 1,
        "outcome": "exited",
        "exit_code": 3,
        "signal": None,
    }


@pytest.mark.parametrize("condition", [UntilExit(), UntilEnded()])
async def test_of_an_ended_session_exit_and_ended_are_met_at_once(
    waiter: Waiter, condition: Condition
) -> None:
    waiter.session.exits(0)
    await waiter.begin(condition, timeout_s=0)
    assert (await waiter.answer()).met == 0


async def test_exit_is_met_by_a_restart_and_ended_is_not(waiter: Waiter) -> None:
    await waiter.begin(UntilEnded(), UntilExit())
    waiter.session.restarts()
    answer = await waiter.answer()
    assert answer.met == 1
    assert answer.evidence == {"generation": 1}


async def test_a_generation_that_is_over_is_over(waiter: Waiter) -> None:
    waiter.session.restarts()
    await waiter.begin(UntilExit(), generation=1)
    assert (await waiter.answer()).met == 0


async def test_a_generation_that_never_was_is_refused(waiter: Waiter) -> None:
    with pytest.raises(Conflict):
        Wait(waiter.session, [UntilExit()], waiter.clock, generation=2)
    await waiter.begin(UntilExit(), timeout_s=0)


async def test_ended_waits_through_restarts(waiter: Waiter) -> None:
    await waiter.begin(UntilEnded())
    waiter.session.restarts()
    await turns()
    assert waiter.waits
    waiter.session.exits(0)
    assert (await waiter.answer()).met == 0


async def test_a_change_is_one_after_the_question(waiter: Waiter) -> None:
    waiter.session.show(name="x")
    await waiter.begin(UntilChange())
    waiter.session.prints(b"output is no change")
    await turns()
    assert waiter.waits
    waiter.session.show(name="y")
    assert (await waiter.answer()).evidence == {"state": "running", "generation": 1}


async def test_nothing_happens_for_the_whole_time(waiter: Waiter) -> None:
    await waiter.begin(UntilExit(), timeout_s=5)
    await waiter.passes(4.9)
    assert waiter.waits
    await waiter.passes(0.2)
    answer = await waiter.answer()
    assert (answer.met, answer.reason, answer.evidence) == (None, "timeout", None)


async def test_of_several_that_hold_the_first_asked_for_answers(waiter: Waiter) -> None:
    waiter.session.exits(0)
    await waiter.begin(UntilPort(80), UntilEnded(), UntilExit())
    assert (await waiter.answer()).met == 1


def ready(lines: bytes) -> tuple[int, int] | None:
    at = lines.find(b"ready")
    return None if at < 0 else (at, at + 5)


async def test_a_line_that_was_there_before_counts(waiter: Waiter) -> None:
    waiter.session.prints(b"...\nready\n")
    await waiter.begin(UntilLog(ready), timeout_s=0)
    answer = await waiter.answer()
    assert answer.met == 0
    assert answer.evidence is not None
    assert answer.evidence["offset"] == 4
    assert answer.next_offset == 10


async def test_lines_of_a_former_generation_do_not_count(waiter: Waiter) -> None:
    waiter.session.prints(b"ready\n")
    waiter.session.restarts()
    await waiter.begin(UntilLog(ready))
    assert waiter.waits
    waiter.session.prints(b"ready\n")
    answer = await waiter.answer()
    assert answer.evidence is not None
    assert answer.evidence["offset"] == 6


async def test_lines_of_the_next_generation_do_not_count_either(waiter: Waiter) -> None:
    await waiter.begin(UntilLog(ready))
    waiter.session.prints(b"rea")
    waiter.session.restarts()
    waiter.session.prints(b"dy\nready\n")
    answer = await waiter.answer()
    assert (answer.met, answer.reason) == (None, "ended")


async def test_from_offset_looks_at_what_follows_it(waiter: Waiter) -> None:
    waiter.session.prints(b"ready\n")
    await waiter.begin(UntilLog(ready), from_offset=6)
    assert waiter.waits
    waiter.session.prints(b"ready\n")
    assert (await waiter.answer()).met == 0


async def test_all_output_is_searched_before_the_end_counts(waiter: Waiter) -> None:
    await waiter.begin(UntilLog(ready))
    waiter.session.reader.append(b"x" * 3_000_000 + b"\nready\n")
    waiter.session.exits(1)
    assert (await waiter.answer()).met == 0


async def test_the_end_comes_first(waiter: Waiter) -> None:
    await waiter.begin(UntilLog(ready), UntilPort(80), UntilIdle(5))
    waiter.session.prints(b"failed\n")
    waiter.session.exits(1)
    answer = await waiter.answer()
    assert (answer.met, answer.reason) == (None, "ended")
    assert answer.evidence is not None
    assert answer.evidence["exit_code"] == 1


async def test_a_port_is_polled_ever_later(waiter: Waiter) -> None:
    await waiter.begin(UntilPort(80))
    await waiter.passes(5)
    times = waiter.ports.asked_at_s
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == 0
    assert steps[0] == pytest.approx(0.05, abs=0.051)
    assert all(a <= b + 0.051 for a, b in itertools.pairwise(steps))
    assert max(steps) <= 0.301
    waiter.ports.found = Listening((Listener(80, "::", 42),))
    await waiter.passes(0.3)
    answer = await waiter.answer()
    assert answer.evidence == {"port": 80, "address": "::", "pid": 42}


async def test_any_port_of_the_tree_will_do(waiter: Waiter) -> None:
    waiter.ports.found = Listening((Listener(81, "127.0.0.1", 42),))
    await waiter.begin(UntilPort(80), UntilPort(None))
    assert (await waiter.answer()).met == 1


async def test_a_foreign_owner_of_the_port_is_named(waiter: Waiter) -> None:
    waiter.ports.found = Listening((), Listener(80, "0.0.0.0", 7, "nginx"))
    await waiter.begin(UntilPort(80), timeout_s=1)
    await waiter.passes(1.1)
    answer = await waiter.answer()
    assert answer.reason == "timeout"
    assert answer.evidence == {
        "port": 80,
        "foreign": {"port": 80, "address": "0.0.0.0", "pid": 7, "command": "nginx"},
    }


async def test_nobody_polls_when_nobody_waits_for_a_port(waiter: Waiter) -> None:
    await waiter.begin(UntilExit(), UntilIdle(20), timeout_s=3)
    assert waiter.clock.pending() == [pytest.approx(3)]
    await waiter.passes(3.1)
    assert waiter.ports.asked_at_s == []


async def test_silence_counts_from_the_last_byte(waiter: Waiter) -> None:
    await waiter.begin(UntilIdle(2))
    await waiter.passes(1.5)
    waiter.session.prints(b"x")
    await waiter.passes(1.5)
    assert waiter.waits
    await waiter.passes(0.6)
    answer = await waiter.answer()
    assert answer.evidence is not None
    assert answer.evidence["offset"] == 1


async def test_silence_before_the_question_counts(waiter: Waiter) -> None:
    waiter.clock.advance(10)
    waiter.session.prints(b"x", time_ns=(STARTED_US + 4_000_000) * 1000)
    await waiter.begin(UntilIdle(5), timeout_s=0)
    answer = await waiter.answer()
    assert answer.evidence == {"idle": pytest.approx(6), "offset": 1}


async def test_a_cancelled_wait_leaves_no_timer(waiter: Waiter) -> None:
    conditions: Sequence[Condition] = (UntilPort(80), UntilIdle(5))
    await waiter.begin(*conditions)
    waiter.task.cancel()
    await turns()
    assert waiter.clock.pending() == []


URL = "http://localhost:80/"


async def test_a_url_that_answers_is_met_and_its_status_shown(waiter: Waiter) -> None:
    waiter.ports.answers[URL] = HttpAnswer(error="connection refused")
    await waiter.begin(UntilHttp(URL))
    assert waiter.waits
    waiter.ports.answers[URL] = HttpAnswer(503)
    await waiter.passes(0.3)
    assert waiter.waits
    waiter.ports.answers[URL] = HttpAnswer(302)
    await waiter.passes(0.5)
    answer = await waiter.answer()
    assert (answer.met, answer.evidence) == (0, {"http": URL, "status": 302})


async def test_only_the_wanted_status_will_do(waiter: Waiter) -> None:
    waiter.ports.answers[URL] = HttpAnswer(200)
    await waiter.begin(UntilHttp(URL, 404), timeout_s=1)
    await waiter.passes(1.1)
    answer = await waiter.answer()
    assert (answer.reason, answer.evidence) == ("timeout", {"http": URL, "status": 200})


async def test_why_a_url_did_not_answer_is_said(waiter: Waiter) -> None:
    waiter.ports.answers[URL] = HttpAnswer(error="connection refused")
    await waiter.begin(UntilHttp(URL), timeout_s=0)
    answer = await waiter.answer()
    assert answer.evidence == {"http": URL, "error": "connection refused"}


async def test_a_server_that_hangs_delays_no_other_condition(waiter: Waiter) -> None:
    waiter.ports.answers[URL] = asyncio.get_running_loop().create_future()
    await waiter.begin(UntilHttp(URL), UntilPort(80), UntilLog(ready))
    waiter.session.prints(b"ready\n")
    assert (await waiter.answer()).met == 2
    waiter.ports.found = Listening((Listener(80, "::", 42),))
    await waiter.begin(UntilHttp(URL), UntilPort(80))
    assert (await waiter.answer()).met == 1


async def test_what_fails_while_looking_fails_the_wait(waiter: Waiter) -> None:
    failing: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
    waiter.ports.answers[URL] = failing
    await waiter.begin(UntilHttp(URL))
    failing.set_exception(ZeroDivisionError())
    await turns(30)
    with pytest.raises(ZeroDivisionError):
        waiter.task.result()


async def test_without_a_condition_ready_is_that_it_runs(waiter: Waiter) -> None:
    waiter.session.show(state=State.STARTING)
    await waiter.begin(UntilReady())
    assert waiter.waits
    waiter.session.show(state=State.RUNNING)
    answer = await waiter.answer()
    assert answer.evidence == {"ready": True, "generation": 1}


async def test_with_a_condition_ready_is_that_it_was_met(waiter: Waiter) -> None:
    spec = waiter.session.record.spec
    waiter.session.show(spec=spec.but(ready=ReadyWhen(port=80)))
    await waiter.begin(UntilReady())
    assert waiter.waits
    waiter.session.show(ready=True)
    assert (await waiter.answer()).met == 0


async def test_an_end_or_a_restart_comes_before_ready(waiter: Waiter) -> None:
    waiter.session.show(spec=waiter.session.record.spec.but(ready=ReadyWhen(port=80)))
    await waiter.begin(UntilReady())
    waiter.session.restarts()
    assert (await waiter.answer()).reason == "ended"
    await waiter.begin(UntilReady())
    waiter.session.exits(1)
    answer = await waiter.answer()
    assert (answer.met, answer.reason) == (None, "ended")
    assert answer.evidence is not None
    assert answer.evidence["exit_code"] == 1

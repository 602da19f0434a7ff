"""Many waits for one log: what they read is counted, not how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from supervisor.conditions import UntilExit, UntilIdle, UntilLog
from supervisor.log_watch import _watches
from supervisor.output.reader import Span
from supervisor.waits import Wait, Waited, wait_for
from tests.fake_session import FakeReader, FakeSession, VirtualClock, turns

SENSES: Any = None  # nobody asks for ports or URLs here


class Pattern:
    """Looks for some bytes, and counts how often."""

    def __init__(self, wanted: bytes) -> None:
        self.wanted = wanted
        self.matched = 0

    def __call__(self, lines: bytes) -> tuple[int, int] | None:
        self.matched += 1
        at = lines.find(self.wanted)
        return None if at < 0 else (at, at + len(self.wanted))


class CountingReader(FakeReader):
    """Counts reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def spans(self, offset: int, max_bytes: int) -> list[Span]:
        self.reads += 1
        return super().spans(offset, max_bytes)


class Crowd:
    """Waits for one session, all under way."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.reader = self.session.reader = CountingReader()
        self.clock = VirtualClock()
        self.tasks: list[asyncio.Task[Waited]] = []
        self.looks = 0

    async def wait(self, *conditions: Any, **more: Any) -> asyncio.Task[Waited]:
        wait = Wait(self.session, conditions, self.clock, **more)
        look = wait.look

        def counted() -> Waited | None:
            self.looks += 1
            return look()

        wait.look = counted  # type: ignore[method-assign]
        task = asyncio.create_task(wait_for(wait, 3600, SENSES))
        self.tasks.append(task)
        await turns(1)
        return task

    async def answers(self) -> Sequence[Waited]:
        async with asyncio.timeout(30):
            return await asyncio.gather(*self.tasks)


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    one = Crowd()
    yield one
    for task in one.tasks:
        task.cancel()
    await asyncio.gather(*one.tasks, return_exceptions=True)
    assert _watches == {}


async def test_a_thousand_waits_read_and_match_new_output_once(crowd: Crowd) -> None:
    pattern = Pattern(b"ready")
    for _ in range(1000):
        await crowd.wait(UntilLog(pattern))
    crowd.reader.reads = pattern.matched = crowd.looks = 0
    for number in range(50):
        crowd.session.prints(b"line %d\n" % number)
        await turns(3)
    assert (crowd.reader.reads, pattern.matched, crowd.looks) == (50, 50, 0)
    crowd.session.prints(b"ready\n")
    assert {answer.met for answer in await crowd.answers()} == {0}
    assert (crowd.reader.reads, pattern.matched, crowd.looks) == (51, 51, 1000)


async def test_waits_that_began_elsewhere_share_once_they_have_caught_up(crowd: Crowd) -> None:
    pattern = Pattern(b"ready")
    crowd.session.prints(b"".join(b"line %d\n" % number for number in range(100)))
    for offset in range(0, 500, 5):
        await crowd.wait(UntilLog(pattern), from_offset=offset)
    crowd.session.prints(b"next\n")
    await turns(300)
    crowd.reader.reads = pattern.matched = 0
    crowd.session.prints(b"last\n")
    await turns(300)
    assert (crowd.reader.reads, pattern.matched) == (1, 1)
    crowd.session.prints(b"ready\n")
    assert len({answer.evidence["offset"] for answer in await crowd.answers()}) == 1  # type: ignore[index]


async def test_a_wait_that_begins_within_a_line_does_not_see_what_came_before(crowd: Crowd) -> None:
    pattern = Pattern(b"ready")
    crowd.session.prints(b"rea")
    whole = await crowd.wait(UntilLog(pattern))
    part = await crowd.wait(UntilLog(pattern), from_offset=3)
    crowd.session.prints(b"dy")
    await turns(50)
    assert whole.done()
    assert not part.done()
    crowd.session.prints(b"\nready")
    assert (await part).evidence["offset"] == 6  # type: ignore[index]


async def test_streams_and_generations_are_searched_apart(crowd: Crowd) -> None:
    pattern = Pattern(b"ready")
    first = await crowd.wait(UntilLog(pattern, 1))
    second = await crowd.wait(UntilLog(pattern, 2))
    crowd.session.prints(b"ready\n", 2)
    assert (await second).met == 0
    assert not first.done()
    crowd.session.restarts()
    crowd.session.prints(b"ready\n", 1)
    assert (await first).reason == "ended"


async def test_a_latecomer_finds_what_was_found_before(crowd: Crowd) -> None:
    pattern = Pattern(b"ready")
    await crowd.wait(UntilLog(pattern))
    crowd.session.prints(b"ready\nready\n")
    late = await crowd.wait(UntilLog(pattern))
    assert [one.evidence["offset"] for one in await crowd.answers()] == [0, 0]  # type: ignore[index]
    assert late.done()


async def test_an_end_while_much_is_left_to_search_is_told_after_it(crowd: Crowd) -> None:
    found = await crowd.wait(UntilLog(Pattern(b"ready")))
    ended = await crowd.wait(UntilLog(Pattern(b"never")))
    exited = await crowd.wait(UntilExit())
    crowd.session.reader.append(b"x" * 3_000_000 + b"\nready\n")
    crowd.session.exits(1)
    await crowd.answers()
    assert (found.result().met, exited.result().met) == (0, 0)
    assert ended.result().reason == "ended"


async def test_silence_is_counted_though_nobody_is_woken_by_output(crowd: Crowd) -> None:
    waiting = await crowd.wait(UntilIdle(10))
    await turns()
    crowd.clock.advance(6)
    crowd.session.prints(b"x")
    await turns()
    crowd.clock.advance(6)
    await turns()
    assert not waiting.done()
    crowd.clock.advance(4.1)
    assert (await waiting).evidence == {"idle": pytest.approx(10.1), "offset": 1}


async def test_what_breaks_the_search_is_told_to_all(crowd: Crowd) -> None:
    pattern = Pattern(b"ready")
    await crowd.wait(UntilLog(pattern))
    await crowd.wait(UntilExit())
    crowd.reader.spans = None  # type: ignore[assignment,method-assign]
    crowd.session.prints(b"x")
    await turns(30)
    for task in crowd.tasks:
        with pytest.raises(TypeError):
            task.result()

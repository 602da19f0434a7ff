"""Lines of several logs in the order of their times, with places, gaps and ends."""

from __future__ import annotations

from typing import Any

import pytest

from api.lanes import Filters, Place
from api.lines import Line
from api.log_merge import LogGap, LogMerge, Source
from tests.fake_session import FakeSession

START = (Place(0), Place(0))


def merge_of(**sessions: FakeSession) -> LogMerge:
    merge = LogMerge()
    for name, session in sessions.items():
        merge.sources[name] = source_of(session)
    return merge


def source_of(session: FakeSession, end: int | None = None, places: Any = START) -> Source:
    return Source(session, Filters(), places, end)  # type: ignore[arg-type]


async def told(merge: LogMerge) -> list[str]:
    """Every line that is there now, as text; a gap as its bounds."""
    await merge.look()
    found = []
    while (taken := merge.take()) is not None:
        source, item = taken
        shown = item.data.decode() if isinstance(item, Line) else f"{item.from_}-{item.to}"
        found.append(shown)
        await merge.settle(source)
    return found


async def test_lines_come_by_time() -> None:
    one, two = FakeSession(), FakeSession()
    one.reader.append(b"1\n4\n", time_ns=10)
    two.reader.append(b"2\n", time_ns=5)
    one.reader.append(b"5\n", time_ns=30)
    two.reader.append(b"6\n", time_ns=40, stream=2)
    assert await told(merge_of(one=one, two=two)) == ["2\n", "1\n", "4\n", "5\n", "6\n"]


async def test_an_unfinished_line_waits_for_its_end() -> None:
    session = FakeSession()
    merge = merge_of(one=session)
    session.reader.append(b"one\ntw")
    assert await told(merge) == ["one\n"]
    assert not merge.has_news
    session.reader.append(b"o\nthr")
    assert merge.has_news
    assert await told(merge) == ["two\n"]
    session.exits(0)
    assert await told(merge) == ["thr"]
    assert merge.sources["one"].over
    assert not merge.has_news


async def test_without_follow_it_ends_where_the_log_did() -> None:
    session = FakeSession()
    session.reader.append(b"one\ntwo")
    source = source_of(session, end=session.reader.next)
    session.reader.append(b"more\n")
    merge = LogMerge()
    merge.sources["one"] = source
    assert await told(merge) == ["one\n", "two"]
    assert source.over
    assert source.places == (Place(7), Place(7))


async def test_a_gap_is_told_at_its_place() -> None:
    session = FakeSession()
    merge = merge_of(one=session)
    session.reader.append(b"a\nb")
    assert await told(merge) == ["a\n"]
    session.reader.append(b"lost\n")
    session.reader.append(b"c\n")
    session.reader.drop(8)
    assert await told(merge) == ["b", "3-8", "c\n"]


@pytest.mark.parametrize("stop", range(6))
async def test_places_are_behind_the_line_taken_last(stop: int) -> None:
    session = FakeSession()
    for stream, data in ((1, b"a\nb"), (2, b"E\nF"), (1, b"c\nd\n"), (2, b"G\n")):
        session.reader.append(data, stream)
    session.exits(0)
    expected = await told(merge_of(one=session))
    merge, given = merge_of(one=session), []
    await merge.look()
    for _ in range(stop):
        taken = merge.take()
        if taken is None:
            break
        assert not isinstance(taken[1], LogGap)
        given.append(taken[1].data.decode())
        await merge.settle(taken[0])
    again = LogMerge()
    again.sources["one"] = source_of(session, places=merge.sources["one"].places)
    assert sorted(given + await told(again)) == sorted(expected)

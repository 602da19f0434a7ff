from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

import pytest

from store import MemoryStore
from supervisor.errors import Gone, StoreFailed
from supervisor.feed import RECENT_EVENTS, EventFeed
from supervisor.ports import Change, Trim
from supervisor.records import Event
from tests.fake_session import VirtualClock


class SlowStore(MemoryStore):
    """Answers each commit when it is told to, in any order: `answers[i].set_result(None)`."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[asyncio.Future[None]] = []
        self.changes: list[Change] = []

    async def commit(self, change: Change) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        self.changes.append(change)
        await answer
        await super().commit(change)


def feed_on(store: MemoryStore) -> EventFeed:
    return EventFeed(store, VirtualClock(), "n1")


async def add(feed: EventFeed, *kinds: str) -> None:
    await feed.commit(Change(events=tuple(feed.event(kind) for kind in kinds)))


async def begun(feed: EventFeed, *kinds: str) -> list[asyncio.Task[None]]:
    """Commits under way, one event each."""
    tasks = [asyncio.create_task(add(feed, kind)) for kind in kinds]
    await asyncio.wait(tasks, timeout=0)
    return tasks


async def seen(feed: EventFeed, after: int = 0) -> list[tuple[int, str]]:
    return [(event.id, event.type) for event in await feed.page(after, 100)]


async def test_events_are_numbered_in_the_order_of_their_commits() -> None:
    store = MemoryStore()
    await store.open()
    feed = feed_on(store)
    await add(feed, "a", "b")
    await add(feed, "c")
    assert await seen(feed) == [(1, "a"), (2, "b"), (3, "c")]
    assert (feed.oldest, feed.last) == (1, 3)


async def test_a_higher_number_is_never_shown_before_a_lower_one() -> None:
    store = SlowStore()
    await store.open()
    feed = feed_on(store)
    tasks = await begun(feed, "a", "b", "c")
    store.answers[2].set_result(None)
    store.answers[1].set_result(None)
    await asyncio.gather(*tasks[1:])
    assert (feed.last, await seen(feed)) == (0, [])
    store.answers[0].set_result(None)
    await tasks[0]
    assert await seen(feed) == [(1, "a"), (2, "b"), (3, "c")]


async def test_what_was_not_stored_leaves_a_hole_and_is_never_shown() -> None:
    store = SlowStore()
    await store.open()
    feed = feed_on(store)
    tasks = await begun(feed, "a", "b", "c")
    store.answers[0].set_result(None)
    store.answers[1].set_exception(StoreFailed("full"))
    store.answers[2].set_result(None)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[1], StoreFailed)
    assert await seen(feed) == [(1, "a"), (3, "c")]
    assert await seen(feed, 1) == [(3, "c")]


async def test_a_waiter_is_woken_once_an_event_is_durable() -> None:
    store = SlowStore()
    await store.open()
    feed = feed_on(store)
    waiting = asyncio.create_task(feed.changes.wait())
    tasks = await begun(feed, "a")
    assert not waiting.done()
    store.answers[0].set_result(None)
    await asyncio.gather(waiting, *tasks)
    assert feed.last == 1


async def test_it_goes_on_after_what_the_store_holds() -> None:
    store = MemoryStore()
    await store.open()
    await add(feed_on(store), "a", "b")
    loaded = await store.open()
    feed = feed_on(store)
    feed.resume(loaded.oldest_event, loaded.last_event)
    await add(feed, "c")
    assert await seen(feed) == [(1, "a"), (2, "b"), (3, "c")]
    assert await seen(feed, 2) == [(3, "c")]


async def test_older_pages_come_from_the_store_and_newer_ones_from_memory() -> None:
    store = MemoryStore()
    await store.open()
    feed = feed_on(store)
    for _ in range(RECENT_EVENTS + 10):
        await add(feed, "a")
    assert [event.id for event in await feed.page(0, 5)] == [1, 2, 3, 4, 5]
    await store.close()  # memory needs no store
    assert [event.id for event in await feed.page(RECENT_EVENTS + 8, 5)] == [
        RECENT_EVENTS + 9,
        RECENT_EVENTS + 10,
    ]


async def test_who_follows_closely_does_not_walk_over_what_it_has_seen() -> None:
    store = MemoryStore()
    await store.open()
    feed = feed_on(store)
    for _ in range(100):
        await add(feed, "a")
    looked_at: list[int] = []

    class Watched(deque[Event]):
        def __iter__(self) -> Iterator[Event]:
            for event in super().__iter__():
                looked_at.append(event.id)
                yield event

        def __reversed__(self) -> Iterator[Event]:
            for event in super().__reversed__():
                looked_at.append(event.id)
                yield event

    feed._recent = Watched(feed._recent)
    assert [event.id for event in await feed.page(97, 2)] == [98, 99]
    assert looked_at == [100, 99, 98, 97]
    looked_at.clear()
    assert await feed.page(100, 5) == []
    assert looked_at == [100]


async def test_a_number_that_was_trimmed_away_is_gone() -> None:
    store = MemoryStore()
    await store.open()
    feed = feed_on(store)
    await add(feed, "a", "b", "c")
    bounds = {"receipts": 1, "receipts_before_us": 0, "tombstones_before_us": 0}
    feed.trimmed(await store.trim(Trim(events=1, **bounds)))
    with pytest.raises(Gone) as raised:
        await feed.page(0, 10)
    assert raised.value.details == {"oldest": 3}
    assert await seen(feed, 2) == [(3, "c")]

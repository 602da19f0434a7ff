"""What every store does; each test runs against SQLite and the memory twin."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.errors import StoreFailed
from supervisor.ports import Change, Loaded, Store, Trim
from supervisor.records import Event, Receipt, ReceiptState, SessionRecord, Token, Tombstone
from tests.component.store.samples import (
    event,
    filled,
    receipt,
    session,
    token,
    tombstone,
)

NOTHING_OVER = Trim(events=1000, receipts=1000, receipts_before_us=0, tombstones_before_us=0)


async def reopened(store: Store) -> Loaded:
    await store.close()
    return await store.open()


async def sessions_of(store: Store) -> tuple[SessionRecord, ...]:
    return (await reopened(store)).sessions


async def test_a_new_store_is_empty(store: Store) -> None:
    assert await reopened(store) == Loaded((), (), (), 0, 0)


async def test_every_field_of_every_record_comes_back_equal(store: Store) -> None:
    records = (session("a"), filled(SessionRecord))
    full_receipt, full_event = filled(Receipt), filled(Event)
    full_tombstone, full_token = filled(Tombstone), filled(Token)
    await store.commit(
        Change(
            sessions=records,
            receipts=(full_receipt,),
            events=(full_event,),
            tombstones=(full_tombstone,),
            tokens=(full_token,),
        )
    )
    loaded = await reopened(store)
    assert loaded.sessions == records
    assert [each.spec.digest() for each in loaded.sessions] == [r.spec.digest() for r in records]
    assert loaded.tokens == (full_token,)
    assert await store.receipt(full_receipt.command_id) == full_receipt
    assert await store.tombstone(full_tombstone.id) == full_tombstone
    assert tuple(await store.events(0, 10)) == (full_event,)


async def test_what_was_committed_is_seen_at_once(store: Store) -> None:
    for number in range(1, 20):
        await store.commit(Change(events=(event(number),), receipts=(receipt(f"c{number}"),)))
        assert tuple(await store.events(number - 1, 10)) == (event(number),)
        assert await store.receipt(f"c{number}") is not None


async def test_a_row_replaces_the_one_of_the_same_id(store: Store) -> None:
    await store.commit(Change(sessions=(session("a"), session("b")), tokens=(token("t"),)))
    await store.commit(
        Change(
            sessions=(session("a", generation=2),),
            tokens=(token("t").but(name="desk"),),
            events=(event(1),),
        )
    )
    await store.commit(Change(events=(event(1).but(node="n2"),)))
    loaded = await reopened(store)
    assert loaded.sessions == (session("a", generation=2), session("b"))
    assert loaded.tokens == (token("t").but(name="desk"),)
    assert (await store.events(0, 10))[0].node == "n2"


async def test_an_id_may_start_again_once_it_is_freed(store: Store) -> None:
    await store.commit(Change(sessions=(session("a"),)))
    await store.commit(Change(removed=("a",), tombstones=(tombstone("a"),)))
    assert await store.tombstone("a") == tombstone("a")
    assert await sessions_of(store) == ()
    await store.commit(Change(freed=("a",), sessions=(session("a", generation=9),)))
    assert await store.tombstone("a") is None
    assert await sessions_of(store) == (session("a", generation=9),)


async def test_a_change_deletes_before_it_puts(store: Store) -> None:
    await store.commit(Change(sessions=(session("a"),), tokens=(token("t"),)))
    await store.commit(
        Change(
            removed=("a",),
            sessions=(session("a", generation=2),),
            tokens_removed=("t",),
            tokens=(token("t"),),
            freed=("a",),
            tombstones=(tombstone("a"),),
        )
    )
    loaded = await reopened(store)
    assert loaded.sessions == (session("a", generation=2),)
    assert loaded.tokens == (token("t"),)
    assert await store.tombstone("a") == tombstone("a")


async def test_deleting_what_is_not_there_does_nothing(store: Store) -> None:
    await store.commit(Change(removed=("a",), freed=("b",), tokens_removed=("c",)))
    await store.commit(Change())
    assert await reopened(store) == Loaded((), (), (), 0, 0)


async def test_what_was_never_stored_is_not_found(store: Store) -> None:
    assert await store.receipt("c") is None
    assert await store.tombstone("s") is None
    assert tuple(await store.events(0, 10)) == ()


async def test_changes_take_effect_in_the_order_of_their_calls(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(1, 501):
            change = Change(sessions=(session("a", generation=number),), events=(event(number),))
            group.create_task(store.commit(change))
    loaded = await reopened(store)
    assert loaded.sessions == (session("a", generation=500),)
    assert (loaded.oldest_event, loaded.last_event) == (1, 500)


async def test_a_change_larger_than_any_group_is_stored_whole(store: Store) -> None:
    many = tuple(session(f"s{number}") for number in range(2000))
    await store.commit(Change(sessions=many, events=(event(1),)))
    assert await sessions_of(store) == many
    await store.commit(Change(removed=tuple(each.id for each in many)))
    assert await sessions_of(store) == ()


async def test_a_change_that_json_cannot_hold_stores_nothing(store: Store) -> None:
    broken = event(2).but(data={"text": "\udc80"})
    with pytest.raises(StoreFailed):
        await store.commit(Change(sessions=(session("a"),), events=(event(1), broken)))
    assert await reopened(store) == Loaded((), (), (), 0, 0)


async def test_accepted_receipts_are_loaded_oldest_first(store: Store) -> None:
    accepted = ReceiptState.ACCEPTED
    rows = (
        receipt("new", at_us=30, state=accepted),
        receipt("done", at_us=20),
        receipt("old", at_us=10, state=accepted),
        receipt("carried_out", at_us=5, state=accepted),
    )
    await store.commit(Change(receipts=rows))
    await store.commit(Change(receipts=(receipt("carried_out", at_us=5),)))
    loaded = await reopened(store)
    assert [each.command_id for each in loaded.accepted] == ["old", "new"]


async def test_events_are_paged_by_their_ids(store: Store) -> None:
    await store.commit(Change(events=tuple(event(number) for number in range(1, 11))))
    assert ids(await store.events(0, 3)) == [1, 2, 3]
    assert ids(await store.events(3, 100)) == [4, 5, 6, 7, 8, 9, 10]
    assert ids(await store.events(10, 100)) == []
    assert ids(await store.events(0, 0)) == []
    assert ids(await store.events(0, -1)) == []


async def test_trim_keeps_the_newest_events(store: Store) -> None:
    await store.commit(Change(events=tuple(event(number) for number in range(1, 1001))))
    assert await store.trim(NOTHING_OVER.but(events=10)) == 991
    assert ids(await store.events(0, 100)) == list(range(991, 1001))
    assert (await reopened(store)).oldest_event == 991


async def test_trim_never_lets_event_ids_start_again(store: Store) -> None:
    await store.commit(Change(events=(event(1), event(2))))
    assert await store.trim(NOTHING_OVER.but(events=0)) == 2
    assert (await reopened(store)).last_event == 2


async def test_trim_of_an_empty_store_returns_zero(store: Store) -> None:
    assert await store.trim(NOTHING_OVER) == 0


async def test_trim_deletes_receipts_by_age(store: Store) -> None:
    rows = tuple(receipt(f"c{number}", at_us=number) for number in range(1, 601))
    await store.commit(Change(receipts=rows))
    await store.trim(NOTHING_OVER.but(receipts_before_us=600))
    assert await store.receipt("c599") is None
    assert await store.receipt("c600") is not None


async def test_trim_deletes_receipts_by_count_oldest_first(store: Store) -> None:
    rows = tuple(receipt(f"c{number}", at_us=number) for number in range(600, 0, -1))
    await store.commit(Change(receipts=rows))
    await store.trim(NOTHING_OVER.but(receipts=5))
    assert await store.receipt("c595") is None
    assert [await store.receipt(f"c{number}") for number in range(596, 601)] == [*rows[4::-1]]


async def test_trim_leaves_accepted_receipts_alone(store: Store) -> None:
    waiting = receipt("waiting", at_us=1, state=ReceiptState.ACCEPTED)
    await store.commit(Change(receipts=(waiting, receipt("done", at_us=2))))
    await store.trim(Trim(events=1, receipts=0, receipts_before_us=10, tombstones_before_us=0))
    assert await store.receipt("waiting") == waiting
    assert await store.receipt("done") is None


async def test_trim_deletes_tombstones_by_age(store: Store) -> None:
    rows = tuple(tombstone(f"s{number}", ended_at_us=number) for number in range(1, 601))
    await store.commit(Change(tombstones=rows))
    await store.trim(NOTHING_OVER.but(tombstones_before_us=600))
    assert await store.tombstone("s599") is None
    assert await store.tombstone("s600") == tombstone("s600", ended_at_us=600)


async def test_a_cancelled_commit_holds_up_nobody(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.commit(Change(events=(event(number),))))
            for number in range(1, 1001)
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks[::3]:
            task.cancel()
    stored = set(ids(await store.events(0, 1000)))
    assert stored >= {number for number in range(1, 1001) if (number - 1) % 3}
    await store.commit(Change(events=(event(1001),)))
    assert (await reopened(store)).last_event == 1001


async def test_a_closed_store_refuses_everything(store: Store) -> None:
    await store.close()
    await store.close()
    for refused in (
        store.commit(Change(sessions=(session("a"),))),
        store.receipt("c"),
        store.tombstone("s"),
        store.events(0, 1),
        store.trim(NOTHING_OVER),
    ):
        with pytest.raises(StoreFailed):
            await refused


async def test_closing_stores_what_is_queued(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.commit(Change(events=(event(number),))))
            for number in range(1, 1001)
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await store.close()
    assert (await store.open()).last_event == 1000


def ids(events: object) -> list[int]:
    assert isinstance(events, list | tuple)
    return [each.id for each in events if isinstance(each, Event)]

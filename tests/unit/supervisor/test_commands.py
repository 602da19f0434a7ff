from __future__ import annotations

import asyncio
from typing import Any

import pytest

from store import MemoryStore
from supervisor.commands import Receipts, settle
from supervisor.errors import ActorStopped, Conflict, NotFound, Refused
from supervisor.ports import Change
from supervisor.records import ReceiptState, Verb
from tests.unit.supervisor.samples import receipt


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.open()
    return made


async def test_an_id_is_taken_once_and_its_end_is_shared(store: MemoryStore) -> None:
    receipts, wanted = Receipts(store), receipt()
    assert await receipts.reserve(wanted) is None
    assert await receipts.reserve(wanted) is wanted
    waiting = asyncio.create_task(receipts.result(wanted))
    await asyncio.wait([waiting], timeout=0)
    done = settle(wanted, ReceiptState.DONE, {"tree_gone": True})
    receipts.settled(done)
    assert await waiting == done
    assert receipts.pending() == 0


@pytest.mark.parametrize(
    "other", [{"verb": Verb.KILL}, {"session": "y"}, {"args": {"grace": 1.0}}], ids=str
)
async def test_an_id_of_other_content_is_refused(store: MemoryStore, other: dict[str, Any]) -> None:
    receipts = Receipts(store)
    await receipts.reserve(receipt())
    with pytest.raises(Conflict):
        await receipts.reserve(receipt(**other))


async def test_a_stored_receipt_answers_and_holds_nothing(store: MemoryStore) -> None:
    done = settle(receipt(), ReceiptState.DONE, {})
    await store.commit(Change(receipts=(done,)))
    receipts = Receipts(store)
    assert await receipts.reserve(receipt()) == done
    assert await receipts.result(done) == done
    assert receipts.pending() == 0


@pytest.mark.parametrize(
    ("error", "told"), [(Refused("no"), Refused), (asyncio.CancelledError(), ActorStopped)]
)
async def test_a_refusal_is_told_to_all_who_wait_and_frees_the_id(
    store: MemoryStore, error: BaseException, told: type[Exception]
) -> None:
    receipts, wanted = Receipts(store), receipt()
    await receipts.reserve(wanted)
    waiting = asyncio.create_task(receipts.result(wanted))
    await asyncio.wait([waiting], timeout=0)
    receipts.abandon(wanted.command_id, error)
    with pytest.raises(told):
        await waiting
    assert await receipts.reserve(receipt(verb=Verb.KILL)) is None


async def test_one_who_gives_up_waiting_disturbs_nobody(store: MemoryStore) -> None:
    receipts, wanted = Receipts(store), receipt()
    receipts.reopen(wanted)
    first, second = (asyncio.create_task(receipts.result(wanted)) for _ in range(2))
    await asyncio.wait([first], timeout=0)
    first.cancel()
    await asyncio.wait([first])
    receipts.settled(wanted)
    assert await second == wanted


async def test_an_unknown_command_is_not_found(store: MemoryStore) -> None:
    with pytest.raises(NotFound):
        await Receipts(store).get("never")

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervisor.actor import MAILBOX_LIMIT, Actor, ActorRef
from supervisor.errors import ActorStopped, AskTimeout, LimitReached, Refused


class Keeping(Actor):
    """Keeps what it is sent. `gate` holds messages up; "boom" crashes, "no" is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []
        self.lost: list[Any] = []
        self.crashes: list[BaseException] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self._on_crash = self.crashes.append

    async def receive(self, message: Any) -> Any:
        self.entered.set()
        await self.gate.wait()
        if message == "boom":
            raise ValueError(message)
        if message == "no":
            raise Refused("not now")
        self.kept.append(message)
        return message

    def unhandled(self, message: Any) -> None:
        self.lost.append(message)


async def asked(actor: Actor, *messages: Any) -> list[asyncio.Task[Any]]:
    """Ask each; they are in the mailbox, in this order, when this returns."""
    tasks = [asyncio.create_task(actor.ask(message)) for message in messages]
    await actor_entered(actor)
    return tasks


async def actor_entered(actor: Actor) -> None:
    assert isinstance(actor, Keeping)
    await actor.entered.wait()


async def test_messages_are_handled_in_the_order_in_which_they_came() -> None:
    actor = Keeping()
    for number in range(5):
        actor.tell(number)
    assert await ActorRef(actor).ask(5) == 5
    assert actor.kept == [0, 1, 2, 3, 4, 5]


async def test_one_message_is_handled_at_a_time() -> None:
    actor = Keeping()
    actor.gate.clear()
    tasks = await asked(actor, 1, 2)
    assert actor.kept == []
    actor.gate.set()
    assert await asyncio.gather(*tasks) == [1, 2]


async def test_an_idle_actor_has_no_task_and_no_mailbox() -> None:
    actor = Keeping()
    await actor.ask(1)
    assert len(asyncio.all_tasks()) == 1
    assert (actor._drain, actor._mailbox) == (None, None)


async def test_a_refusal_reaches_who_asked_and_the_actor_goes_on() -> None:
    actor = Keeping()
    with pytest.raises(Refused):
        await actor.ask("no")
    assert await actor.ask(1) == 1
    assert actor.crashes == []


async def test_an_ask_gives_up_in_time_and_is_carried_out_all_the_same() -> None:
    actor = Keeping()
    actor.gate.clear()
    with pytest.raises(AskTimeout):
        await actor.ask(1, timeout_s=0)
    actor.gate.set()
    await actor.ask(2)
    assert actor.kept == [1, 2]


async def test_a_cancelled_ask_disturbs_nobody() -> None:
    actor = Keeping()
    actor.gate.clear()
    first, second = await asked(actor, 1, 2)
    first.cancel()
    actor.gate.set()
    assert await second == 2
    assert first.cancelled()
    assert actor.kept == [1, 2]


async def test_a_crash_fails_every_pending_ask_and_tells_the_owner() -> None:
    actor = Keeping()
    actor.gate.clear()
    tasks = await asked(actor, "boom", 1, 2)
    actor.gate.set()
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in failures] == [ActorStopped] * 3
    assert [str(each) for each in actor.crashes] == ["boom"]
    assert actor.kept == []


async def test_a_refused_fact_is_a_crash_since_nobody_else_would_hear() -> None:
    actor = Keeping()
    actor.tell("no")
    await actor_entered(actor)
    await asyncio.gather(*filter(None, [actor._drain]))
    assert [type(each) for each in actor.crashes] == [Refused]


async def test_a_stopped_actor_refuses_asks_and_drops_facts() -> None:
    actor = Keeping()
    await actor.stop()
    actor.tell(1)
    with pytest.raises(ActorStopped):
        await actor.ask(2)
    assert (actor.kept, actor.lost) == ([], [1])


async def test_stopping_fails_what_waits_and_gives_it_back() -> None:
    actor = Keeping()
    actor.gate.clear()
    tasks = await asked(actor, 1, 2)
    await actor.stop()
    await actor.stop()
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in failures] == [ActorStopped] * 2
    assert (actor.kept, actor.lost) == ([], [2])
    assert actor.crashes == []


async def test_an_actor_may_stop_itself() -> None:
    class Ending(Keeping):
        async def receive(self, message: Any) -> Any:  # noqa: ARG002  any message ends it
            await self.stop()
            return "ended"

    assert await Ending().ask(1) == "ended"


async def test_a_revived_actor_begins_with_an_empty_mailbox() -> None:
    actor = Keeping()
    actor.gate.clear()
    tasks = await asked(actor, "boom", 1)
    actor.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    actor.revive()
    assert await actor.ask(2) == 2
    assert actor.kept == [2]


async def test_a_full_mailbox_refuses_requests_and_takes_facts() -> None:
    actor = Keeping()
    actor.gate.clear()
    actor.tell("first")
    await actor_entered(actor)
    for number in range(MAILBOX_LIMIT):
        actor.tell(number)
    with pytest.raises(LimitReached) as raised:
        await actor.ask("too many")
    assert raised.value.details == {"limit": "mailbox", "value": MAILBOX_LIMIT}
    actor.tell("fact")
    actor.gate.set()
    while actor._drain is not None:
        await asyncio.wait([actor._drain])
    assert actor.kept == ["first", *range(MAILBOX_LIMIT), "fact"]


async def test_owned_work_that_fails_is_a_crash_and_stop_cancels_it() -> None:
    actor = Keeping()
    failed = asyncio.Event()
    actor._on_crash = lambda _: failed.set()

    async def fail() -> None:
        raise ValueError

    actor.own(fail())
    await failed.wait()
    actor.revive()
    never = asyncio.Event()

    async def wait() -> None:
        await never.wait()

    actor.own(wait())
    await actor.stop()


async def test_an_unknown_message_is_an_error_of_its_sender() -> None:
    actor = Actor()
    with pytest.raises(ActorStopped):
        await actor.ask("?")

"""The store refuses a commit, callers vanish or come by the hundred, names and limits collide."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from supervisor.errors import Conflict, Gone, LimitReached, NameInUse, NotFound, StoreFailed
from supervisor.records import ReceiptState, State, Verb
from tests.component.supervisor.rig import (
    Rig,
    ended,
    output,
    printed,
    refuse_nth,
    request,
    soon,
    until,
)

T = TypeVar("T")
QUIET = [
    "an outcome could not be stored yet",
    "a session's record could not be stored",
    "session x crashed and is recovered",
    "a session could not be adopted",
]


async def a_whole_life(rig: Rig) -> None:
    """Start, set a timeout, restart, stop; what is refused is sent again, as a user would."""
    session = await again(lambda: rig.sh("echo $$; exec sleep 1000", id="x"))
    await printed(session, "\n")
    await again(lambda: rig.control(Verb.TIMEOUT, "x", run=3600.0))
    await again(lambda: rig.control(Verb.RESTART, "x"))
    session = rig.supervisor.find("x")
    await until(session, lambda one: output(one).count("\n") == session.record.generation)
    await again(lambda: rig.control(Verb.STOP, "x"))
    await ended(session)


async def again(act: Callable[[], Awaitable[T]]) -> T:
    try:
        return await act()
    except StoreFailed:
        return await act()


@pytest.mark.parametrize("number", range(1, 12))
async def test_a_store_that_refuses_one_commit_costs_nothing_but_that(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("supervisor.session._STORE_RETRY_S", 0)
    rig.expected = QUIET
    rig.store.before_commit = refuse_nth(number, StoreFailed("refused on purpose"))
    await a_whole_life(rig)
    session = rig.supervisor.find("x")
    pids = output(session).split()
    assert len(pids) == len(set(pids)) == session.record.generation
    assert session.record.outcome is not None
    assert session.record.outcome.exit_code == 143
    assert session.pids() == []
    before = session.record
    rig.store.before_commit = None
    assert (await rig.again()).find("x").record.outcome == before.outcome


async def test_a_create_that_cannot_be_stored_starts_nothing(rig: Rig) -> None:
    rig.store.before_commit = refuse_nth(1, StoreFailed("refused on purpose"))
    with pytest.raises(StoreFailed):
        await rig.sh("exec sleep 1000", id="x")
    with pytest.raises(NotFound):
        rig.supervisor.find("x")
    keeper = rig.supervisor._node.keeper
    assert keeper is not None
    assert await keeper.list() == []


async def test_a_start_that_the_store_refuses_holds_nothing(rig: Rig) -> None:
    session = await rig.sh("echo up; exec sleep 1000", id="x")
    await printed(session, "up\n")
    await rig.crash()
    rig.store.before_commit = refuse_nth(1, StoreFailed("refused on purpose"))
    with pytest.raises(StoreFailed):
        await rig.start()
    session = (await rig.start()).find("x")
    assert (session.record.state, output(session)) == (State.RUNNING, "up\n")


async def test_a_hundred_equal_creates_start_one_child(rig: Rig) -> None:
    wanted = request("/bin/sh", "-c", "echo $$; exec sleep 1000", id="x")
    answers = await asyncio.gather(*(rig.supervisor.create(wanted) for _ in range(100)))
    assert sum(created for _, created in answers) == 1
    assert len({id(session) for session, _ in answers}) == 1
    await printed(answers[0][0], "\n")
    await rig.kill(answers[0][0])
    assert output(answers[0][0]).count("\n") == 1


async def test_a_caller_that_vanishes_leaves_a_session_that_can_be_found(rig: Rig) -> None:
    gate = asyncio.Event()

    async def held_up(_: object) -> None:
        await gate.wait()

    rig.store.before_commit = held_up
    creating = asyncio.create_task(rig.sh("echo up; exec sleep 1000", id="x"))
    while not rig.supervisor.sessions():
        await asyncio.wait([creating], timeout=0)
    creating.cancel()
    await asyncio.wait([creating])
    gate.set()
    session, created = await rig.supervisor.create(
        request("/bin/sh", "-c", "echo up; exec sleep 1000", id="x")
    )
    assert not created
    await printed(session, "up\n")
    await rig.kill(session)
    assert output(session) == "up\n"


async def test_an_id_belongs_to_its_first_spec(rig: Rig) -> None:
    session = await rig.create("/bin/sleep", "1000", id="x")
    assert await rig.supervisor.create(request("/bin/sleep", "1000", id="x")) == (session, False)
    with pytest.raises(Conflict) as raised:
        await rig.create("/bin/sleep", "1001", id="x")
    assert raised.value.details["differing"] == ["command"]


async def test_a_name_is_held_while_its_session_lives(rig: Rig) -> None:
    first = await rig.create("/bin/sleep", "1000", name="web")
    same, created = await rig.supervisor.create(request("/bin/sleep", "1000", name="web"))
    assert (same, created) == (first, False)
    with pytest.raises(NameInUse):
        await rig.create("/bin/sleep", "1001", name="web")
    second = await rig.create("/bin/sleep", "1001", name="web", replace=True)
    assert first.record.state is State.EXITED
    assert rig.supervisor.find("web") is second
    await rig.kill(second)
    assert rig.supervisor.find("web") is second
    with pytest.raises(NotFound):
        rig.supervisor.find("nobody")


async def test_a_name_that_is_held_cannot_be_patched_in(rig: Rig) -> None:
    await rig.create("/bin/sleep", "1000", name="web")
    other = await rig.create("/bin/sleep", "1000")
    with pytest.raises(NameInUse):
        await rig.supervisor.patch(other.record.id, {"name": "web"})
    await rig.supervisor.patch(other.record.id, {"name": "db", "labels": {"a": "b"}})
    assert rig.supervisor.find("db").record.labels == {"a": "b"}


async def test_only_live_sessions_count_for_the_limit(rig: Rig) -> None:
    await rig.stop()
    await rig.start(sessions=1)
    await ended(await rig.sh("true"))
    live = await rig.create("/bin/sleep", "1000")
    with pytest.raises(LimitReached):
        await rig.sh("true")
    await rig.kill(live)
    await ended(await rig.sh("true"))


async def test_prune_keeps_a_tombstone_and_remove_frees_the_id(rig: Rig) -> None:
    live = await rig.create("/bin/sleep", "1000", id="live")
    for name in ("a", "b"):
        await ended(await rig.sh("exit 3", id=name))
    with pytest.raises(Conflict):
        await rig.supervisor.remove("live", force=False, by=request().by)
    await rig.supervisor.remove("a", force=False, by=request().by)
    assert await rig.supervisor.prune() == ["b"]
    assert list(rig.supervisor.sessions()) == [live]
    with pytest.raises(Gone) as raised:
        await rig.sh("exit 3", id="b")
    assert raised.value.details["exit_code"] == 3
    await ended(await rig.sh("exit 3", id="a"))
    await rig.supervisor.remove("live", force=True, by=request().by)
    assert not (rig.folder / "sessions" / "live").exists()


async def test_a_restart_and_a_prune_never_both_win(rig: Rig) -> None:
    session = await rig.sh("true", id="x")
    await ended(session)
    restarted, pruned = await asyncio.gather(
        rig.restart(session), rig.supervisor.prune(), return_exceptions=True
    )
    assert isinstance(restarted, NotFound) == (pruned == ["x"])
    if pruned == []:
        assert rig.supervisor.find("x") is session


async def test_the_same_command_id_is_carried_out_once(rig: Rig) -> None:
    session = await rig.sh("echo $$; exec sleep 1000")
    command = rig.command(Verb.RESTART, session, command_id="r1")
    receipts = await asyncio.gather(*(rig.supervisor.control(command) for _ in range(20)))
    assert {receipt.effect["generation"] for receipt in receipts} == {2}
    assert (await rig.supervisor.control(command)).state is ReceiptState.DONE
    assert session.record.generation == 2
    with pytest.raises(Conflict):
        await rig.kill(session, command_id="r1")


async def test_equal_requests_share_a_refusal(rig: Rig) -> None:
    session = await rig.sh("exec sleep 1000")
    command = rig.command(Verb.KILL, session, command_id="k1", generation=7)
    answers = await soon(
        asyncio.gather(*(rig.supervisor.control(command) for _ in range(5)), return_exceptions=True)
    )
    assert [type(answer) for answer in answers] == [Conflict] * 5
    assert session.record.state is State.RUNNING


async def test_of_two_sessions_that_want_a_name_at_once_one_gets_it(rig: Rig) -> None:
    sessions = [await rig.create("/bin/sleep", "1000") for _ in range(2)]
    wanted = (rig.supervisor.patch(one.record.id, {"name": "web"}) for one in sessions)
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert sorted(isinstance(each, NameInUse) for each in results) == [False, True]
    assert [one.record.name for one in sessions].count("web") == 1


async def test_an_ended_session_does_not_come_back_under_a_name_that_is_held(rig: Rig) -> None:
    former = await ended(await rig.sh("true", name="web"))
    live = await rig.create("/bin/sleep", "1000", name="web")
    with pytest.raises(NameInUse) as raised:
        await rig.restart(former)
    assert raised.value.details["session_id"] == live.record.id
    assert former.record.generation == 1


async def test_a_broken_folder_of_one_session_stops_no_daemon(rig: Rig) -> None:
    other = await rig.create("/bin/sleep", "1000", id="other")
    broken = await ended(await rig.sh("echo out", id="broken"))
    folder = rig.folder / "sessions" / "broken"
    shutil.rmtree(folder)
    folder.write_text("no folder")
    rig.expected.append("the output of session broken cannot be read")
    await rig.crash()
    supervisor = await rig.start()
    assert supervisor.find("other").record.pid == other.record.pid
    assert supervisor.find("broken").record.outcome == broken.record.outcome
    assert not supervisor.find("broken").has_output

"""A daemon ends, crashes or loses its keeper: what the next one finds, and what nobody invents."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from supervisor import session as session_module
from supervisor.errors import StartRefused
from supervisor.keeper.client import start_keeper
from supervisor.messages import Adopt, GraceExpired
from supervisor.ports import Change
from supervisor.records import OutcomeKind, Receipt, ReceiptState, State, Verb
from supervisor.session import Session
from tests.component.keeper.post import process_ended
from tests.component.supervisor.rig import (
    ME,
    Rig,
    alive,
    ended,
    output,
    printed,
    request,
    soon,
    until,
)

COUNTING = "i=0; while :; do echo $((i+=1)); sleep 0.01; done"


def counts_on(text: str) -> bool:
    """Whether it is 1, 2, 3 ... without a hole."""
    lines = [int(line) for line in text.splitlines()[:-1]]
    return lines == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_the_next_daemon_has_the_same_session(each_rig: Rig, how: str) -> None:
    session = await each_rig.sh(COUNTING, id="x", name="web")
    await printed(session, "5\n")
    pid = session.record.pid
    await (each_rig.stop() if how == "stop" else each_rig.crash())
    await each_rig.start()
    session = each_rig.supervisor.find("web")
    assert (session.record.id, session.record.state) == ("x", State.RUNNING)
    assert session.record.pid == pid
    at = session.reader.next
    await until(session, lambda one: one.reader.next > at + 20)
    assert counts_on(output(session))
    assert (await each_rig.stop_it(session)).effect["tree_gone"] is True


async def test_an_end_while_no_daemon_was_there_is_not_invented(each_rig: Rig) -> None:
    session = await each_rig.sh("read line; echo $line; exit 6", stdin="pipe", id="x")
    assert session.input is not None
    pid = session.record.pid or 0
    await each_rig.crash()
    with_input = await each_rig.start()
    session = with_input.find("x")
    assert session.input is not None
    session.input.write(b"go\n", 0)
    await each_rig.crash()
    await process_ended(pid)
    session = (await each_rig.start()).find("x")
    await ended(session)
    assert session.record.status == 6 << 8
    assert output(session) == "go\n"


async def test_the_log_of_a_finished_session_still_counts_for_the_node(rig: Rig) -> None:
    session = await rig.sh("seq 1000", id="x")
    await ended(session)
    files = [file.stat().st_size for file in (rig.folder / "sessions" / "x").iterdir()]
    assert session.bytes_on_disk == sum(files) > session.reader.next
    again = (await rig.again()).find("x")
    assert again.bytes_on_disk == sum(files)


async def test_a_finished_session_is_kept_as_it_was(rig: Rig) -> None:
    before = (await ended(await rig.sh("echo a; exit 2", id="x"))).record
    session = (await rig.again()).find("x")
    assert session.record == before
    assert output(session) == "a\n"
    assert (await rig.supervisor.create(request("/bin/sh", "-c", "echo a; exit 2", id="x")))[1] is (
        False
    )


async def test_kept_leftovers_are_taken_over_too(each_rig: Rig) -> None:
    script = "(exec sleep 1000 >/dev/null 2>&1) & echo $!"
    await ended(await each_rig.sh(script, id="x", leftovers="keep"))
    session = (await each_rig.again()).find("x")
    pid = int(output(session))
    assert session.record.kept
    assert alive(pid)
    assert (await each_rig.kill(session)).effect["tree_gone"] is True
    assert not alive(pid)


async def test_an_end_that_was_committed_but_not_dropped_is_let_go(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await rig.sh("exec sleep 1000", id="x")
    with monkeypatch.context() as forgetful:
        forgetful.setattr(type(session), "_drop", nothing)
        await rig.kill(session)
    session = (await rig.again()).find("x")
    assert session.record.state is State.EXITED
    assert session.child is None


async def test_a_starting_session_that_the_keeper_never_saw_is_started_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()
    keeper = rig.supervisor._node.keeper
    assert keeper is not None
    monkeypatch.setattr(keeper, "spawn", lambda _: never.wait())
    creating = asyncio.create_task(rig.sh("echo once; exec sleep 1000", id="x"))
    await shown(rig, "x")
    await until(rig.supervisor.find("x"), lambda one: one.record.keeper_id != "")
    await rig.crash()
    with pytest.raises(Exception):  # noqa: B017, PT011  its daemon is gone, in whatever words
        await creating
    session = (await rig.start()).find("x")
    await printed(session, "once\n")
    session = (await rig.again()).find("x")
    assert (session.record.generation, output(session)) == (1, "once\n")


async def test_a_starting_session_of_a_dead_keeper_is_lost_and_not_started_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await rig.sh("exec sleep 1000", id="x")
    starting = session.record.but(
        state=State.STARTING, pid=None, keeper_id="another", containment=None
    )
    await rig.kill(session)
    await rig.crash()
    await rig.store.open()
    await rig.store.commit(Change(sessions=(starting,)))
    session = (await rig.start()).find("x")
    outcome = session.record.outcome
    assert outcome is not None
    assert (session.record.state, outcome.kind) == (State.LOST, OutcomeKind.LOST)
    assert (outcome.exit_code, outcome.detail) == (None, {"reason": "keeper_died"})
    assert session.record.pid is None


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING, State.DRAINING])
async def test_after_a_reboot_every_live_session_is_lost_for_that_reason(
    rig: Rig, state: State
) -> None:
    session = await rig.sh("exec sleep 1000", id="x")
    record = session.record.but(state=state, boot_id="another", keeper_id="another")
    await rig.kill(session)
    await rig.crash()
    await rig.store.open()
    await rig.store.commit(Change(sessions=(record,)))
    session = (await rig.start()).find("x")
    assert session.record.state is State.LOST
    assert session.record.outcome is not None
    assert session.record.outcome.detail == {"reason": "reboot"}
    assert session.pids() == []


async def test_a_restart_that_waited_follows_a_loss(rig: Rig) -> None:
    session = await rig.sh("echo up; exec sleep 1000", id="x")
    await printed(session, "up\n")
    # No containment: its path is this very keeper's, which would be removed as a dead one's.
    record = session.record.but(
        state=State.STOPPING, keeper_id="another", restart_wanted="r1", containment=None
    )
    receipt = Receipt(command_id="r1", verb=Verb.RESTART, session="x", generation=1, by=ME, at_us=1)
    await rig.kill(session)
    await rig.crash()
    await rig.store.open()
    await rig.store.commit(Change(sessions=(record,), receipts=(receipt,)))
    session = (await rig.start()).find("x")
    await printed(session, "up\nup\n")
    assert session.record.generation == 2
    assert (await receipt_of(rig, "r1")).effect == {"generation": 2}


async def test_a_stop_goes_on_after_a_crash_and_its_receipt_is_settled(each_rig: Rig) -> None:
    session = await each_rig.sh(
        "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done", id="x"
    )
    await printed(session, "up")
    command = each_rig.command(Verb.STOP, session, command_id="s1", grace=3600)
    receipt = await each_rig.supervisor.control(command, wait=False)
    assert receipt.state == "accepted"
    await printed(session, "no")
    supervisor = await each_rig.again()
    session = supervisor.find("x")
    assert session.record.state is State.STOPPING
    await each_rig.stop_it(session, grace=0.05)
    assert (await receipt_of(each_rig, "s1")).state == "done"
    assert await supervisor.control(command) == await supervisor.receipt("s1")


async def test_an_accepted_signal_is_not_sent_again_after_a_crash(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await rig.sh("trap 'echo got' USR1; echo up; while :; do sleep 0.05; done", id="x")
    await printed(session, "up")
    begun = asyncio.Event()

    async def stuck(_: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    assert session.child is not None
    monkeypatch.setattr(type(session.child), "signal_group", lambda _, number: stuck(number))
    command = rig.command(Verb.SIGNAL, session, command_id="k1", signal="USR1", target="group")
    sending = asyncio.create_task(rig.supervisor.control(command))
    await soon(begun.wait())
    await rig.crash()
    await asyncio.wait([sending])
    assert sending.exception() is not None
    supervisor = await rig.start()
    receipt = await supervisor.receipt("k1")
    assert (receipt.state, receipt.effect["code"]) == (ReceiptState.FAILED, "UNKNOWN")
    await rig.stop_it(supervisor.find("x"))
    assert "got" not in output(supervisor.find("x"))


async def test_the_keeper_is_killed_and_sessions_go_on(each_rig: Rig) -> None:
    each_rig.expected = ["no new keeper could be started yet"]
    supervisor = each_rig.supervisor
    old = await each_rig.sh(f"trap 'exit 9' TERM; {COUNTING}", id="old")
    await printed(old, "5\n")
    first = supervisor.keeper_pid or 0
    os.kill(first, signal.SIGKILL)
    await process_ended(first)
    await until_degraded(each_rig, "keeper_died")
    new = await each_rig.sh("echo new; exec sleep 1000", id="new")
    await printed(new, "new")
    assert supervisor.keeper_pid not in (None, first)
    at = old.reader.next
    await until(old, lambda one: one.reader.next > at + 20)
    receipt = await each_rig.stop_it(old)
    assert receipt.effect["tree_gone"] is True
    assert old.record.status == 9 << 8
    assert counts_on(output(old))
    assert supervisor.degraded() == []
    assert new.record.state is State.RUNNING


async def test_a_session_that_crashes_after_its_keeper_is_not_started_twice(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_rig.expected = ["no new keeper could be started yet", "session x crashed and is recovered"]
    session = await each_rig.sh(f"echo $$; {COUNTING}", id="x")
    await printed(session, "5\n")
    pid = session.record.pid
    os.kill(each_rig.supervisor.keeper_pid or 0, signal.SIGKILL)
    await until_degraded(each_rig, "keeper_died")
    await crash(session, monkeypatch)
    at = session.reader.next
    await until(session, lambda one: one.reader.next > at + 20)
    assert output(session).split("\n", 1)[0] == str(pid)
    assert counts_on(output(session).split("\n", 1)[1])
    await each_rig.stop_it(session)
    assert session.record.outcome is not None
    assert session.record.outcome.signal == "SIGTERM"


async def test_a_restart_waits_for_the_new_keeper(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    session = await rig.sh("echo up; trap '' TERM; while :; do sleep 0.05; done")
    await printed(session, "up\n")
    restarting = asyncio.create_task(rig.restart(session))
    await until(session, lambda one: one.record.state is State.STOPPING)
    monkeypatch.setattr("supervisor.keeper_watch.start_keeper", after(gate, start_keeper))
    os.kill(rig.supervisor.keeper_pid or 0, signal.SIGKILL)
    await until_degraded(rig, "keeper_starting")
    os.kill(session.record.pid or 0, signal.SIGKILL)
    await until(session, lambda one: one.record.state is State.DRAINING)
    gate.set()
    assert (await restarting).effect == {"generation": 2}
    await printed(session, "up\nup\n")
    await rig.kill(session)  # it does not hear a stop


async def test_leaving_while_a_new_keeper_is_started_leaves_nothing(rig: Rig) -> None:
    rig.expected = ["no new keeper could be started yet"]
    first = rig.supervisor.keeper_pid or 0
    os.kill(first, signal.SIGKILL)
    await until_degraded(rig, "keeper_starting")
    await rig.stop()


@pytest.mark.parametrize("stored", [True, False], ids=["tree-stored", "tree-not-stored"])
async def test_daemon_and_keeper_both_die_and_nothing_is_left(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    monkeypatch.setattr("supervisor.commits.LATER_S", 0.005 if stored else 3600)
    session = await each_rig.sh("sleep 1000 & echo $!; exec sleep 1000", id="x")
    await printed(session, "\n")
    if stored:
        await until_kind(each_rig, session, "started")  # with it the record of its tree
    pids = [int(output(session)), session.record.pid or 0]
    keeper = each_rig.supervisor.keeper_pid or 0
    await each_rig.crash()
    os.kill(keeper, signal.SIGKILL)
    await process_ended(keeper)
    session = (await each_rig.start()).find("x")
    assert session.record.outcome is not None
    assert session.record.outcome.kind is OutcomeKind.LOST
    for pid in pids:
        await process_ended(pid)
    assert session.record.survivors == ()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_crashed_session_is_recovered_and_nothing_else_notices(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    each_rig.expected = ["session x crashed and is recovered"]
    other = await each_rig.sh(COUNTING)
    session = await each_rig.sh(COUNTING, id="x", stdin="pipe")
    pid = session.record.pid
    for _ in range(times):
        at = session.reader.next
        await until(session, lambda one: one.reader.next > at + 20)  # noqa: B023  awaited here
        await crash(session, monkeypatch)
    at = session.reader.next
    await until(session, lambda one: one.reader.next > at + 20)
    assert (session.record.pid, session.record.state) == (pid, State.RUNNING)
    assert session.input is not None
    session.input.write(b"still there\n")
    await each_rig.stop_it(session)
    assert counts_on(output(session))
    assert counts_on(output(other))
    assert len(each_rig.reports) == times


async def test_a_session_that_crashes_while_it_stops_is_stopped(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_rig.expected = ["session x crashed and is recovered"]
    session = await each_rig.sh(
        "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done", id="x"
    )
    await printed(session, "up")
    stopping = asyncio.create_task(each_rig.stop_it(session, grace=0.5))
    await printed(session, "no")
    await crash(session, monkeypatch)
    receipt = await stopping
    assert receipt.effect["outcome"] == "killed"


async def test_a_session_that_crashes_when_its_child_ends_still_has_the_status(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_rig.expected = ["session x crashed and is recovered"]
    session = await each_rig.sh("read line; echo $line; exit 4", id="x", stdin="pipe")
    crash_once(session, monkeypatch, "happen")
    assert session.input is not None
    session.input.write(b"go\n")
    await ended(session)
    assert session.record.status == 4 << 8
    assert output(session) == "go\n"
    await until(session, lambda one: one.child is None)


async def test_a_session_that_crashes_as_it_starts_runs_once(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_rig.expected = ["session x crashed and is recovered"]
    crash_once(Session, monkeypatch, "_open_log")
    session = await each_rig.sh("echo once; exec sleep 1000", id="x")
    await printed(session, "once\n")
    await each_rig.stop_it(session)
    assert output(session) == "once\n"


async def test_a_session_that_always_crashes_stays_down_and_is_said_to(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.expected = ["session x crashed and is recovered"]
    session = await rig.sh("exec sleep 1000", id="x")
    pid = session.record.pid or 0
    with monkeypatch.context() as broken:
        broken.setattr(type(session), "_open_log", explode)
        crash_once(session, broken, "happen")
        session.tell(_fact(session))
        await until(session, lambda one: one.down)
    assert alive(pid)
    session = (await rig.again()).find("x")
    assert session.record.pid == pid
    await rig.stop_it(session)


async def test_a_second_daemon_on_the_directory_is_refused_in_words(rig: Rig) -> None:
    session = await rig.sh("exec sleep 1000")
    with pytest.raises(StartRefused) as raised:
        await rig.new().start()
    assert raised.value.details["locked"] is True
    assert str(os.getpid()) in raised.value.message
    assert session.record.state is State.RUNNING
    assert rig.supervisor.degraded() == []


async def shown(rig: Rig, session_id: str) -> None:
    """Wait until a session is in the registry, which the feed tells."""
    async with asyncio.timeout(30):
        while session_id not in {one.record.id for one in rig.supervisor.sessions()}:
            await rig.supervisor.feed.changes.wait()


async def until_degraded(rig: Rig, word: str) -> None:
    """Wait until the daemon has noticed; it adds an event for that."""
    async with asyncio.timeout(30):
        while word not in rig.supervisor.degraded():
            await rig.supervisor.feed.changes.wait()


async def until_kind(rig: Rig, session: Session, kind: str) -> None:
    """Wait until an event of the session is durable."""
    async with asyncio.timeout(30):
        while kind not in await rig.kinds(session):
            await rig.supervisor.feed.changes.wait()


def after(gate: asyncio.Event, call: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
    """The same call, made once the gate is open."""

    async def later(*args: object, **kwargs: object) -> None:
        await gate.wait()
        await call(*args, **kwargs)

    return later


async def receipt_of(rig: Rig, command_id: str) -> Receipt:
    """The settled receipt."""
    receipts = rig.supervisor._node.receipts
    return await soon(receipts.result(await receipts.get(command_id)))


async def nothing(*_: object) -> None:
    """Do not do it."""


def explode(*_: object) -> None:
    raise RuntimeError("broken on purpose")


def crash_once(owner: object, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Have a method of the session's class raise, once."""
    kind = owner if isinstance(owner, type) else type(owner)
    whole = getattr(kind, method)

    def broken(*args: object, **kwargs: object) -> object:
        setattr(kind, method, whole)
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(kind, method, broken)


def _fact(session: Session) -> GraceExpired:
    return GraceExpired(session.record.generation)


async def crash(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crash a session's actor, and wait until it was recovered."""
    crash_once(session, monkeypatch, "_fact")
    adopt = vars(session_module)["adopt"]
    adopted = asyncio.Event()

    async def watched(recovered: Session, message: Adopt) -> None:
        await adopt(recovered, message)
        adopted.set()

    with monkeypatch.context() as watching:
        watching.setattr(session_module, "adopt", watched)
        session.tell(_fact(session))
        await soon(adopted.wait())

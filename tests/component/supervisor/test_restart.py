"""Children that are started again by their policy, over crashes of daemon, keeper and machine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.records import OutcomeKind, RestartSpec, State, Timeouts
from supervisor.session import Session
from tests.component.keeper.post import process_ended
from tests.component.supervisor.rig import Rig, alive, ended, output, printed, until

QUICK = RestartSpec("always", initial=0.01, max=0.02, intensity=1000)
SLOW = RestartSpec("always", initial=600.0, max=600.0)


def grown_over(generation: int) -> Callable[[Session], bool]:
    return lambda one: one.record.generation > min(generation, 11)


async def in_backoff(session: Session) -> Session:
    return await until(session, lambda one: one.record.state is State.BACKOFF)


async def test_a_child_comes_back_under_its_id_and_its_offsets_go_on(rig: Rig) -> None:
    session = await rig.sh("echo again; exit 1", restart=QUICK)
    await until(session, lambda one: one.record.generation == 3 and one.reader.next == 18)
    await rig.stop_it(session)
    record = session.record
    assert (record.state, record.desired) == (State.EXITED, "stopped")
    assert record.restarts == record.generation - 1 >= 2
    assert output(session) == "again\n" * (session.reader.next // 6)
    kinds = await rig.kinds(session)
    assert kinds[:7] == [
        "created",
        "starting",
        "started",
        "exited",
        "backoff",
        "restarted",
        "starting",
    ]
    assert kinds[-1] != "restarted"


async def test_on_failure_ends_with_the_first_success(rig: Rig, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    script = f"echo x >> {tries}; test $(wc -l < {tries}) -ge 3"
    session = await rig.sh(script, restart=RestartSpec("on_failure", initial=0.01))
    record = (await ended(session)).record
    assert (record.generation, record.status) == (3, 0)
    assert tries.read_text() == "x\n" * 3


async def test_it_gives_up_in_words_and_starts_again_when_asked(rig: Rig) -> None:
    restart = RestartSpec("always", initial=0.01, intensity=2)
    session = await rig.sh("exit 7", restart=restart)
    record = (await ended(session)).record
    assert (record.generation, record.gave_up) == (3, True)
    assert record.outcome is not None
    assert record.outcome.exit_code == 7
    assert (await rig.kinds(session))[-2:] == ["exited", "gave_up"]
    await rig.restart(session)
    record = (await ended(session)).record
    assert (record.generation, record.gave_up) == (6, True)


@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_what_waits_for_its_next_child_is_stopped_at_once(rig: Rig, verb: str) -> None:
    session = await in_backoff(await rig.sh("exit 3", restart=SLOW))
    receipt = await (rig.stop_it(session) if verb == "stop" else rig.kill(session))
    assert receipt.effect["tree_gone"] is True
    assert receipt.effect["exit_code"] == 3
    assert (session.record.state, session.record.desired) == (State.EXITED, "stopped")
    assert session.final


async def test_a_restart_does_not_wait(rig: Rig) -> None:
    session = await in_backoff(await rig.sh("exit 3", restart=SLOW))
    receipt = await rig.restart(session)
    assert receipt.effect["generation"] == 2
    await in_backoff(session)
    assert len(session.record.restarted_s) == 1  # the policy counts anew


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_the_next_daemon_goes_on_waiting_and_starts_one_child(rig: Rig, how: str) -> None:
    session = await in_backoff(await rig.sh("echo up; exit 1", restart=SLOW, id="x"))
    await (rig.stop() if how == "stop" else rig.crash())
    await rig.start()
    session = rig.supervisor.find("x")
    assert (session.record.state, session.record.generation) == (State.BACKOFF, 1)
    await rig.restart(session)
    await until(session, lambda one: one.reader.next == 6)
    assert output(session) == "up\nup\n"


async def test_a_wait_that_ran_out_meanwhile_is_over_at_once(rig: Rig) -> None:
    restart = RestartSpec("always", initial=0.2, max=0.2)
    session = await in_backoff(await rig.sh("exec sleep 0", restart=restart, id="x"))
    until_s = session.record.backoff_until_s or 0.0
    await rig.crash()
    due = asyncio.Event()
    rig.clock.call_later(until_s - rig.clock.monotonic(), due.set)
    await due.wait()
    await rig.start()
    await until(rig.supervisor.find("x"), lambda one: one.record.generation >= 2)


@pytest.mark.parametrize("desired", ["running", "stopped"])
async def test_after_a_reboot_only_what_was_wanted_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, desired: str
) -> None:
    running = await rig.sh("echo up; exec sleep 1000", restart=QUICK, id="runs")
    waiting = await in_backoff(await rig.sh("echo up; exit 1", restart=SLOW, id="waits"))
    await printed(running, "up")
    if desired == "stopped":
        await rig.stop_it(running)
        await rig.stop_it(waiting)
    pid, keeper = running.record.pid or 0, rig.supervisor.keeper_pid or 0
    await rig.crash()
    os.kill(keeper, signal.SIGKILL)
    await process_ended(keeper)
    monkeypatch.setattr("supervisor.supervisor.boot_id", lambda: "another boot")
    await rig.start()
    running, waiting = rig.supervisor.find("runs"), rig.supervisor.find("waits")
    if desired == "stopped":
        assert (running.record.generation, waiting.record.generation) == (1, 1)
        assert running.final
        assert waiting.final
    else:
        await until(running, lambda one: one.record.generation == 2 and one.reader.next == 6)
        await until(waiting, lambda one: one.record.generation == 2)
        lost = [each for each in await rig.events(running) if each.type == "session.lost"]
        assert [each.data["reason"] for each in lost] == ["reboot"]
    if alive(pid):  # its cgroup is another boot's, which in truth was this one's
        os.kill(pid, signal.SIGKILL)


async def test_a_lost_child_is_followed_after_its_tree_is_gone(each_rig: Rig) -> None:
    session = await each_rig.sh("echo up; exec sleep 1000", restart=QUICK, id="x")
    await printed(session, "up")
    pid, keeper = session.record.pid or 0, each_rig.supervisor.keeper_pid or 0
    await each_rig.crash()
    os.kill(keeper, signal.SIGKILL)
    await process_ended(keeper)
    await each_rig.start()
    session = each_rig.supervisor.find("x")
    await until(session, lambda one: one.record.generation == 2 and one.reader.next == 6)
    assert not alive(pid)


async def test_leftovers_never_live_beside_the_next_child(each_rig: Rig) -> None:
    script = "sleep 1000 > /dev/null 2>&1 & echo $!; exit 1"
    session = await each_rig.sh(script, restart=SLOW, leftovers="keep")
    await in_backoff(session)
    assert not alive(int(output(session)))


TIMES: list[dict[str, Any]] = [{"run": 0.05}, {"idle": 0.05}, {"disconnect": 0.05}]


@pytest.mark.parametrize("times", TIMES, ids=lambda times: next(iter(times)))
async def test_each_timeout_ends_with_its_own_outcome_and_nothing_follows(
    rig: Rig, times: dict[str, float]
) -> None:
    session = await rig.sh("exec sleep 1000", timeouts=Timeouts(**times), restart=QUICK)
    record = (await ended(session)).record
    assert record.outcome is not None
    assert record.outcome.kind is OutcomeKind.TIMED_OUT
    assert record.outcome.detail == {"which": next(iter(times))}
    assert (record.generation, record.desired) == (1, "stopped")


async def test_two_daemons_cannot_both_start_the_next_child(rig: Rig, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    restart = RestartSpec("on_failure", initial=0.05, max=0.05, intensity=1000)
    script = (
        f"echo x >> {witness}; test $(wc -l < {witness}) -ge 12 && echo settled && exec sleep 1000"
    )
    session = await rig.sh(script, restart=restart, id="x")
    while session.record.generation < 12:
        await rig.again()
        session = rig.supervisor.find("x")
        await until(session, grown_over(session.record.generation))
    await printed(session, "settled")
    assert len(witness.read_text().split()) == session.record.generation

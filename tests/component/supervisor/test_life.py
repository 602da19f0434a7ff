"""A session from its start to its end, and what its output, input and record say of it."""

from __future__ import annotations

import asyncio
import os
import signal
from hashlib import md5
from itertools import product

import pytest

from supervisor.errors import Refused, SpawnRefused
from supervisor.records import OutcomeKind, OutputSpec, State, Timeouts, Verb
from tests.component.supervisor.rig import Rig, alive, ended, output, printed, request, soon, until


async def test_a_command_runs_and_its_end_is_known(each_rig: Rig) -> None:
    session = await each_rig.sh("printf out; printf err >&2; exit 3")
    record = (await ended(session)).record
    assert (record.state, record.status) == (State.EXITED, 3 << 8)
    assert record.outcome is not None
    assert (record.outcome.kind, record.outcome.exit_code) == (OutcomeKind.EXITED, 3)
    assert (output(session, 1), output(session, 2)) == ("out", "err")
    assert (record.output_next, record.output_complete) == (6, True)
    assert await each_rig.kinds(session) == ["created", "starting", "started", "exited"]
    assert session.pids() == []


CHOICES = list(
    product((True, False), ("null", "pipe"), ("pipe", "ignore"), ("pipe", "ignore", "combined"))
)


async def test_every_combination_of_streams_gives_its_bytes_and_its_end(rig: Rig) -> None:
    script = "printf out; printf err >&2; cat; exit 4"
    for tty, stdin, stdout, stderr in CHOICES:
        if tty and (stdin, stdout, stderr) != ("pipe", "pipe", "pipe"):
            continue
        session = await rig.sh(script, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
        if stdin == "pipe":
            assert session.input is not None
            if tty:
                await printed(session, "outerr")
            session.input.write(b"in\n")
            if tty:
                await printed(session, "in\r\nin\r\n")  # the echo, and what cat says
            await session.end_input()
        record = (await ended(session)).record
        assert record.status == 4 << 8
        assert record.output_complete
        if tty:
            assert output(session) == "outerrin\r\nin\r\n"
            continue
        echoed = "in\n" if stdin == "pipe" else ""
        seen = {"pipe": f"out{echoed}", "ignore": ""}[stdout]
        if stderr == "combined":
            assert output(session) == ("" if stdout == "ignore" else f"outerr{echoed}")
        else:
            assert output(session, 1) == seen
            assert output(session, 2) == ("err" if stderr == "pipe" else "")


async def test_a_missing_program_is_refused_with_stage_and_errno(rig: Rig) -> None:
    with pytest.raises(SpawnRefused) as raised:
        await rig.create("/nonexistent/program", id="gone")
    assert raised.value.details == {"session_id": "gone", "errno": "ENOENT", "stage": "exec"}
    session = rig.supervisor.find("gone")
    assert session.record.outcome is not None
    assert session.record.outcome.exit_code == 127
    again, created = await rig.supervisor.create(request("/nonexistent/program", id="gone"))
    assert (again, created) == (session, False)


@pytest.mark.parametrize(
    ("fields", "stage"), [({"user": "nobody-of-this-name"}, "user"), ({"cwd": "/nowhere"}, "cwd")]
)
async def test_what_the_machine_refuses_names_its_stage(
    rig: Rig, fields: dict[str, str], stage: str
) -> None:
    with pytest.raises(SpawnRefused) as raised:
        await rig.create("/bin/true", **fields)
    assert raised.value.details["stage"] == stage


async def test_stop_sends_the_signal_and_proves_the_tree_gone(each_rig: Rig) -> None:
    session = await each_rig.sh("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 9; done")
    await printed(session, "up")
    receipt = await each_rig.stop_it(session)
    assert receipt.state == "done"
    assert receipt.effect["tree_gone"] is True
    outcome = session.record.outcome
    assert outcome is not None
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.EXITED, 5)
    assert outcome.detail == {"command_id": receipt.command_id}
    assert session.record.desired == "stopped"
    assert "bye" in output(session)


async def test_a_stop_without_effect_ends_in_sigkill_after_its_grace(each_rig: Rig) -> None:
    session = await each_rig.sh("trap '' TERM; echo up; while :; do sleep 9; done")
    await printed(session, "up")
    receipt = await each_rig.stop_it(session, grace=0.1)
    outcome = session.record.outcome
    assert outcome is not None
    assert (outcome.kind, outcome.exit_code, outcome.signal) == (
        OutcomeKind.KILLED,
        137,
        "SIGKILL",
    )
    assert outcome.detail["command_id"] == receipt.command_id


async def test_a_second_stop_with_less_grace_ends_it_sooner(rig: Rig) -> None:
    session = await rig.sh("trap '' TERM; echo up; while :; do sleep 9; done")
    await printed(session, "up")
    first = asyncio.create_task(rig.stop_it(session, grace=3600))
    await until(session, lambda one: one.record.state is State.STOPPING)
    second = await rig.stop_it(session, grace=0.05)
    assert {(await first).effect["outcome"], second.effect["outcome"]} == {"killed"}


FIVE = """
import os, signal, sys, time
def spare(setup):
    if os.fork() == 0:
        setup(); sys.stdout.write(f"pid {os.getpid()}\\n"); sys.stdout.flush()
        while True: time.sleep(60)
def twice():
    if os.fork(): os._exit(0)
    os.setsid()
def scrubbed():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    read, write = os.pipe()
    if os.fork() == 0:
        script = "echo pid $$; trap '' TERM HUP; while :; do /bin/sleep 60; done"
        os.execve("/bin/sh", ["sh", "-c", script], {})
spare(lambda: os.setpgid(0, 0)); spare(os.setsid); spare(twice); spare(scrubbed)
while True: time.sleep(60)
"""


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.KILL])
async def test_nothing_of_a_tree_of_five_is_left(each_rig: Rig, verb: Verb) -> None:
    session = await each_rig.create("/usr/bin/env", "python3", "-c", FIVE)
    await until(session, lambda one: output(one).count("\n") >= 5)
    pids = [int(line.split()[1]) for line in output(session).splitlines()]
    assert len(session.pids()) >= 5
    args = {"grace": 0.2} if verb is Verb.STOP else {}
    receipt = await each_rig.control(verb, session, **args)
    assert receipt.effect["tree_gone"] is True
    assert [pid for pid in pids if alive(pid)] == []


async def test_leftovers_are_killed_before_the_end_is_told(each_rig: Rig) -> None:
    session = await each_rig.sh("(exec sleep 1000 >/dev/null 2>&1) & echo $!")
    await ended(session)
    assert not alive(int(output(session)))
    assert not session.record.kept


async def test_kept_leftovers_live_on_until_they_are_killed(each_rig: Rig) -> None:
    session = await each_rig.sh("(exec sleep 1000 >/dev/null 2>&1) & echo $!", leftovers="keep")
    await ended(session)
    pid = int(output(session))
    assert session.record.kept
    assert alive(pid)
    assert session.pids() == [pid]
    receipt = await each_rig.kill(session)
    assert receipt.effect["tree_gone"] is True
    assert not alive(pid)
    assert not session.record.kept


async def test_kept_leftovers_that_end_by_themselves_are_let_go(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.child.SILENCE_S", 0.05)
    session = await each_rig.sh("sleep 1000 & echo $!", leftovers="keep")
    await ended(session)
    assert session.record.kept
    os.kill(int(output(session)), signal.SIGKILL)
    await until(session, lambda one: not one.record.kept)
    assert session.child is None


async def test_a_restart_gives_the_next_generation_and_goes_on_at_its_offset(rig: Rig) -> None:
    session = await rig.sh("echo $HOLDFAST_SESSION_ID; exec sleep 1000", id="x")
    await printed(session, "x\n")
    first = session.record.pid
    receipt = await rig.restart(session)
    assert (receipt.state, receipt.effect) == ("done", {"generation": 2})
    assert session.record.pid != first
    await printed(session, "x\nx\n")
    assert session.record.generation_offset == 2
    assert (session.record.generation, session.record.restarts) == (2, 1)
    kinds = await rig.kinds(session)
    assert kinds[kinds.index("exited") :] == ["exited", "restarted", "starting", "started"]


async def test_a_finished_session_starts_again(rig: Rig) -> None:
    session = await rig.sh("echo once")
    await ended(session)
    await rig.restart(session)
    await until(session, lambda one: one.final and one.record.generation == 2)
    assert output(session) == "once\nonce\n"
    assert session.record.outcome is not None
    assert session.record.outcome.exit_code == 0
    told = [event for event in await rig.events(session) if event.generation == 2]
    assert [event.type.removeprefix("session.") for event in told] == [
        "restarted", "starting", "started", "exited",
    ]  # fmt: skip
    assert told[0].data == {"offset": 5}


async def test_a_run_timeout_ends_the_session_and_is_its_outcome(rig: Rig) -> None:
    session = await rig.create("/bin/sleep", "1000", timeouts=Timeouts(run=0.05))
    outcome = (await ended(session)).record.outcome
    assert outcome is not None
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.TIMED_OUT, 143)
    assert outcome.detail == {"which": "run"}
    assert session.record.desired == "stopped"


GRANDCHILD = "(trap '' HUP; while :; do echo x; done) & echo first; exit 7"


async def test_a_grandchild_that_prints_for_ever_ends_with_the_session(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.child.DRAIN_S", 0.3)
    monkeypatch.setattr("supervisor.child.SILENCE_S", 0.1)
    session = await each_rig.sh(GRANDCHILD)
    record = (await ended(session)).record
    assert record.status == 7 << 8
    assert record.output_complete
    assert record.output_next == session.reader.next


async def test_a_kept_grandchild_that_prints_for_ever_is_discarded_and_announced(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.child.DRAIN_S", 0.3)
    monkeypatch.setattr("supervisor.child.SILENCE_S", 0.1)
    session = await rig.sh(GRANDCHILD, leftovers="keep", output=OutputSpec(capacity=1 << 17))
    record = (await ended(session)).record
    assert record.kept
    assert not record.output_complete
    assert session.reader.next == record.output_next
    await rig.kill(session)
    assert session.reader.next == record.output_next
    assert session.pids() == []


async def test_a_stop_while_it_drains_kills_what_is_left(rig: Rig) -> None:
    session = await rig.sh(GRANDCHILD)
    await until(session, lambda one: one.record.state is State.DRAINING)
    receipt = await rig.stop_it(session)
    assert receipt.effect["tree_gone"] is True
    assert session.record.outcome is not None
    assert session.record.outcome.exit_code == 7


async def test_a_lossless_session_without_reader_can_be_stopped(rig: Rig) -> None:
    block = OutputSpec(capacity=1 << 17, on_full="block")
    session = await rig.sh("while :; do echo 0123456789; done", output=block)
    await until(session, lambda one: one.stalled == "reader")
    await rig.stop_it(session)
    assert session.record.outcome is not None
    assert session.record.outcome.signal == "SIGTERM"


async def test_input_is_refused_where_there_is_none(rig: Rig) -> None:
    session = await rig.create("/bin/sleep", "1000")
    assert session.input is None
    with pytest.raises(Refused):
        await session.end_input()


async def test_input_offsets_go_on_over_a_restart(rig: Rig) -> None:
    session = await rig.create("/bin/cat", stdin="pipe")
    assert session.input is not None
    assert session.input.write(b"one\n", 0) == 4
    await printed(session, "one\n")
    await rig.restart(session)
    assert session.input is not None
    assert (session.input.next, session.input.delivered) == (4, 4)
    assert session.input.write(b"two\n", 4) == 8
    await printed(session, "one\ntwo\n")


async def test_more_input_than_the_journal_holds_arrives_once(rig: Rig) -> None:
    session = await rig.create("/usr/bin/md5sum", stdin="pipe")
    assert session.input is not None
    piece = bytes(range(256)) * 256
    for _ in range(80):
        await until(session, lambda one: one.input is not None and one.input.room >= len(piece))
        session.input.write(piece)
    await session.end_input()
    await ended(session)
    assert output(session).startswith(md5(piece * 80).hexdigest())


async def test_an_interactive_session_sees_its_size(rig: Rig) -> None:
    session = await rig.sh(
        "trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done", tty=True
    )
    await printed(session, "40 160")
    receipt = await rig.control(Verb.RESIZE, session, rows=33, cols=101)
    assert receipt.effect == {"rows": 33, "cols": 101}
    await printed(session, "33 101")


async def test_a_timeout_may_be_set_and_taken_away(rig: Rig) -> None:
    session = await rig.create("/bin/sleep", "1000", timeouts=Timeouts(run=3600))
    assert session.record.deadline_s is not None
    receipt = await rig.control(Verb.TIMEOUT, session, run=None)
    assert receipt.state == "done"
    assert session.record.deadline_s is None
    await rig.control(Verb.TIMEOUT, session, run=0.05)
    outcome = (await ended(session)).record.outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.TIMED_OUT


@pytest.mark.parametrize("target", ["leader", "group", "tree"])
async def test_a_signal_reaches_its_target(rig: Rig, target: str) -> None:
    session = await rig.sh("trap 'echo got' USR1; echo up; while :; do sleep 0.1; done")
    await printed(session, "up")
    receipt = await rig.control(Verb.SIGNAL, session, signal="USR1", target=target)
    assert receipt.state == "done"
    await soon(printed(session, "got"))


async def test_a_signal_that_ends_it_is_named_in_the_outcome(rig: Rig) -> None:
    session = await rig.create("/bin/sleep", "1000")
    receipt = await rig.control(Verb.SIGNAL, session, signal="SIGINT")
    outcome = (await ended(session)).record.outcome
    assert outcome is not None
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.KILLED, 130)
    assert outcome.detail["command_id"] == receipt.command_id


async def test_a_log_too_small_for_its_segments_is_refused_before_anything_is_stored(
    rig: Rig,
) -> None:
    with pytest.raises(Refused, match="131072 is the least"):
        await rig.create("/bin/true", output=OutputSpec(capacity=131071))
    assert not rig.supervisor.sessions()


async def test_a_leader_that_outlives_sigkill_is_named_and_nobody_waits_for_it(
    each_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.child.KILL_S", 0.1)
    session = await each_rig.sh("exec sleep 1000", id="x")
    pid = session.record.pid
    assert session.child is not None
    with monkeypatch.context() as immortal:
        immortal.setattr(type(session.child.held.containment), "kill", _nothing)
        receipt = await each_rig.kill(session)
    assert receipt.effect == {"tree_gone": False, "survivors": [pid]}
    assert (session.record.state, session.record.survivors) == (State.STOPPING, (pid,))
    receipt = await each_rig.kill(session)
    assert receipt.effect["tree_gone"] is True
    assert session.record.survivors == ()


async def _nothing(_: object) -> None:
    """A kill that reaches nobody, as one of a process of root or in a frozen cgroup."""

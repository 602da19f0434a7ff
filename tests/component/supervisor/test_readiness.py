"""What makes a session ready; it stays so through crashes, and never outlives its end."""

from __future__ import annotations

from typing import Any

from store.codec import read
from supervisor.errors import StoreFailed
from supervisor.records import ReadyWhen, SessionRecord, State, is_ready
from supervisor.session import Session
from tests.component.supervisor.rig import Rig, ended, printed, refuse_nth, until

READY = ReadyWhen(log="^ready$")
ON_LINE = "while read -r line; do echo $line; done"


def say(session: Session, line: bytes) -> None:
    assert session.input is not None
    session.input.write(line)


async def ready(session: Session) -> Session:
    return await until(session, lambda one: is_ready(one.record))


def stored(rig: Rig, session: Session) -> SessionRecord:
    text = rig.store._text("session", session.record.id)
    assert text is not None
    return read(SessionRecord, text)


async def test_it_is_ready_when_its_condition_is_met_and_unready_at_its_end(rig: Rig) -> None:
    session = await rig.sh(ON_LINE, stdin="pipe", ready=READY)
    assert not is_ready(session.record)
    say(session, b"not yet\nready\n")
    await ready(session)
    assert stored(rig, session).ready
    await rig.kill(session)
    assert not session.record.ready
    kinds = [kind for kind in await rig.kinds(session) if kind not in ("control", "stopping")]
    assert kinds == ["created", "starting", "started", "ready", "unready", "exited"]


async def test_what_was_seen_stands_in_the_event(rig: Rig) -> None:
    session = await ready(await rig.sh("echo ready; exec sleep 1000", ready=READY))
    events: list[Any] = [one for one in await rig.events(session) if one.type == "session.ready"]
    assert [(one.generation, one.data["line"]) for one in events] == [(1, "ready")]


async def test_each_generation_becomes_ready_by_itself(rig: Rig) -> None:
    session = await rig.sh(ON_LINE, stdin="pipe", ready=READY)
    say(session, b"ready\n")
    await ready(session)
    await rig.restart(session)
    await until(session, lambda one: one.record.state is State.RUNNING)
    assert (session.record.generation, is_ready(session.record)) == (2, False)
    say(session, b"ready\n")
    await ready(session)
    events = [one for one in await rig.events(session) if one.type.endswith("ready")]
    assert [(one.type, one.generation) for one in events] == [
        ("session.ready", 1),
        ("session.unready", 1),
        ("session.ready", 2),
    ]


async def test_an_end_before_that_tells_of_no_readiness(rig: Rig) -> None:
    session = await ended(await rig.sh("exit 3", ready=ReadyWhen(port="any")))
    kinds = await rig.kinds(session)
    assert "ready" not in kinds
    assert "unready" not in kinds


async def test_it_stays_ready_through_a_crash_and_becomes_it_once(rig: Rig) -> None:
    session = await ready(await rig.sh("echo ready; exec sleep 1000", id="x", ready=READY))
    supervisor = await rig.again()
    session = supervisor.find("x")
    assert is_ready(session.record)
    await rig.kill(session)
    assert (await rig.kinds(session)).count("ready") == 1


async def test_the_next_daemon_waits_on_and_sees_what_was_printed_in_between(rig: Rig) -> None:
    session = await rig.sh("read -r line; echo ready; exec sleep 1000", stdin="pipe", id="x",
                           ready=READY)  # fmt: skip
    say(session, b"\n")
    await rig.crash()
    supervisor = await rig.start()
    assert is_ready((await ready(supervisor.find("x"))).record)


async def test_it_is_not_shown_before_it_is_stored_and_is_tried_again(
    rig: Rig, monkeypatch: Any
) -> None:
    monkeypatch.setattr("supervisor.readiness._RETRY_S", 0.0)
    rig.expected.append("a session's readiness could not be stored yet")
    session = await rig.sh(ON_LINE, stdin="pipe", ready=READY)
    await until(session, lambda one: one.record.state is State.RUNNING)
    await rig.events(session)
    rig.store.before_commit = refuse_nth(1, StoreFailed("full"))
    say(session, b"ready\n")
    await ready(session)
    assert stored(rig, session).ready
    assert [what for what, _ in rig.reports] == rig.expected


async def test_without_a_condition_it_is_ready_while_it_runs_and_no_event_tells(rig: Rig) -> None:
    session = await rig.sh("echo x; exec sleep 1000")
    await printed(session, "x")
    assert is_ready(session.record)
    await rig.kill(session)
    assert not is_ready(session.record)
    assert not {"ready", "unready"} & set(await rig.kinds(session))

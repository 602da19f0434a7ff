"""Ports and usage of real trees: who listens, what is told of it, and through a daemon's crash."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from supervisor.records import State
from supervisor.sampling import Sampling
from supervisor.session import Session
from supervisor.sock_diag import Sockets
from tests.component.supervisor.rig import PATIENCE_S, Rig, ended, output, printed, until
from tests.listening import PYTHON, free_port, listener


async def seen(rig: Rig, session: Session, holds: Callable[[Session], bool]) -> Session:
    """Look again and again until something holds of a session."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds(session):
            await rig.supervisor.sampling.fresh()
            await asyncio.sleep(0)
    return session


def shown(session: Session) -> list[tuple[int, str]]:
    return [(one.port, one.address) for one in session.record.ports]


async def port_events(rig: Rig, session: Session) -> list[tuple[str, int]]:
    events = await rig.events(session)
    return [(one.type, one.data["port"]) for one in events if one.type.startswith("port.")]


async def port_of(session: Session) -> int:
    await until(session, lambda one: output(one).count("\n") >= 1)
    return int(output(session).split()[0])


async def test_a_grandchilds_listener_is_told_when_it_opens_and_closes(each_rig: Rig) -> None:
    script = f"read go; ( {listener('::1')} )"
    session = await each_rig.sh(script, stdin="pipe")
    await each_rig.supervisor.sampling.fresh()
    assert shown(session) == []
    assert session.input is not None
    session.input.write(b"go\n")
    port = await port_of(session)
    await seen(each_rig, session, lambda one: bool(one.record.ports))
    assert shown(session) == [(port, "::1")]
    assert session.record.ports[0].pid in session.pids()
    assert session.record.ports[0].pid != session.record.pid
    await session.end_input()
    await printed(session, "closed")
    await seen(each_rig, session, lambda one: not one.record.ports)
    await until_stored(each_rig, session, 2)
    assert await port_events(each_rig, session) == [("port.opened", port), ("port.closed", port)]


async def until_stored(rig: Rig, session: Session, number: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(await port_events(rig, session)) < number:
            await rig.supervisor.feed.changes.wait()


async def test_two_sessions_on_one_port_both_show_it(rig: Rig) -> None:
    port = free_port()
    command = listener("127.0.0.1", port, reuse=True)
    sessions = [await rig.sh(command, stdin="pipe") for _ in range(2)]
    for session in sessions:
        await seen(rig, session, lambda one: bool(one.record.ports))
        assert shown(session) == [(port, "127.0.0.1")]
        assert session.record.ports[0].pid in session.pids()


async def test_a_strangers_listener_is_nobodys(rig: Rig) -> None:
    session = await rig.sh(listener(), stdin="pipe")
    port = await port_of(session)
    with socket.create_server(("127.0.0.1", 0)):
        await seen(rig, session, lambda one: bool(one.record.ports))
        await rig.supervisor.sampling.look_at(session)
        assert shown(session) == [(port, "127.0.0.1")]


async def test_an_end_tells_of_its_ports_first(rig: Rig) -> None:
    session = await rig.sh(listener(), stdin="pipe")
    await seen(rig, session, lambda one: bool(one.record.ports))
    await rig.kill(session)
    await ended(session)
    kinds = await rig.kinds(session)
    assert kinds.index("port.opened") < kinds.index("port.closed") < kinds.index("exited")
    assert session.record.ports == ()


async def test_kept_leftovers_go_on_being_shown_until_they_are_gone(rig: Rig) -> None:
    session = await rig.sh(f"{listener(closes=False)} & read go", stdin="pipe", leftovers="keep")
    port = await port_of(session)
    await seen(rig, session, lambda one: bool(one.record.ports))
    assert session.input is not None
    session.input.write(b"go\n")
    await ended(session)
    assert (session.record.kept, shown(session)) == (True, [(port, "127.0.0.1")])
    await rig.kill(session)
    assert session.record.ports == ()
    assert await port_events(rig, session) == [("port.opened", port), ("port.closed", port)]


async def test_through_a_crash_nothing_is_told_twice_and_nothing_forgotten(rig: Rig) -> None:
    stays = await rig.sh(listener(), stdin="pipe")
    closes = await rig.sh(listener(), stdin="pipe")
    ids = [stays.record.id, closes.record.id]
    for session in (stays, closes):
        await seen(rig, session, lambda one: bool(one.record.ports))
        await until_stored(rig, session, 1)
    since = stays.record.ports[0].since_us
    assert closes.record.ports
    await rig.crash()
    os.kill(closes.record.ports[0].pid, 9)
    supervisor = await rig.start()
    stays, closes = map(supervisor.find, ids)
    await ended(closes)
    await supervisor.sampling.fresh()
    assert [kind for kind, _ in await port_events(rig, stays)] == ["port.opened"]
    assert [kind for kind, _ in await port_events(rig, closes)] == ["port.opened", "port.closed"]
    assert stays.record.ports[0].since_us == since


async def test_usage_is_of_the_whole_tree_and_only_on_demand(each_rig: Rig) -> None:
    spin = f"{PYTHON} 'sum(range(3000000)); print(1, flush=True); input()'"
    session = await each_rig.sh(f"( {spin} )", stdin="pipe")
    await printed(session, "1")
    sampling = each_rig.supervisor.sampling
    await sampling.fresh()
    assert session.usage is None
    await sampling.fresh(usage=True)
    assert session.usage is not None
    assert session.usage.processes >= 1
    assert session.usage.memory_bytes > 1 << 20
    assert session.usage.cpu_seconds > 0.0
    before = session.usage
    await sampling.look_at(session)
    assert session.usage.at_us > before.at_us
    assert session.usage.cpu_seconds >= before.cpu_seconds


async def test_a_next_generation_begins_without_usage_and_ports(rig: Rig) -> None:
    session = await rig.sh(listener(), stdin="pipe")
    await seen(rig, session, lambda one: bool(one.record.ports))
    await rig.supervisor.sampling.look_at(session)
    assert session.usage is not None
    await rig.restart(session)
    await until(session, lambda one: one.record.state is State.RUNNING)
    assert session.record.generation == 2
    assert session.usage is None
    kinds = await rig.kinds(session)
    assert kinds.index("port.closed") < kinds.index("restarted")


async def test_a_failing_look_is_reported_and_costs_nobody_anything(rig: Rig) -> None:
    rig.expected.append("ports and usage could not be looked at")

    def refused() -> Sockets:
        raise PermissionError

    sampling = rig.supervisor.sampling
    sampling._sampler._dump = refused
    await sampling.fresh()
    assert [what for what, _ in rig.reports] == rig.expected
    assert isinstance(sampling, Sampling)
    session = await rig.sh("exit 3")
    assert (await ended(session)).record.status == 3 << 8

"""How a session goes on after a crash, of the former daemon or of its own actor.

The record says how far it had come; the keeper, which child it holds. An end that had begun is
begun again: a signal that arrives twice is better than one that never does.
"""

from __future__ import annotations

from signal import SIGKILL
from typing import TYPE_CHECKING

from supervisor.child import Child
from supervisor.keeper.client import Held, KeeperClient, SpawnFailed, SpawnRequest
from supervisor.lifecycle import BeginGrace, KillTree, LifeEvent, SignalTree, Spawn
from supervisor.messages import Adopt, ChildExited
from supervisor.readiness import watch_readiness
from supervisor.records import SessionRecord, State

if TYPE_CHECKING:
    from supervisor.session import Session

__all__ = ["adopt", "recover"]


async def adopt(session: Session, message: Adopt) -> None:
    """Go on where a former daemon, or this actor before its crash, stopped."""
    held, keeper, record = message.held, message.keeper, session.record
    session.controls.adopt(message.receipts)
    if held is not None and held.generation != record.generation:
        held.close()  # it went on by itself while this one was fetched
        return
    if record.state.over:
        await _adopt_ended(session, held, keeper)
        await session.controls.finish_ended()
        session.backoff.begin()
    elif session.child is not None:
        session.unhandled(message)
        await _go_on(session, session.child)
    elif held is None or keeper is None:
        await _adopt_nothing(session)
    elif record.state is State.STARTING:
        await session.spawned(held, keeper)
        _report_status(session, held)
    else:
        await _adopt_running(session, held, keeper)


async def _adopt_nothing(session: Session) -> None:
    """No child: it was never spawned, or nobody can know how it ended."""
    record = session.record
    if record.state is State.STARTING:
        if record.lost_reason is None:
            await session.perform((Spawn(),))
        else:
            await session.happen(LifeEvent.KEEPER_LOST)
        return
    reason = record.lost_reason or "keeper_died"
    session.record = record.but(state=State.DRAINING, lost_reason=reason)
    await session.happen(LifeEvent.DRAIN_ENDED)


async def _adopt_running(session: Session, held: Held, keeper: KeeperClient) -> None:
    """Take a child that ran before."""
    session.take(held, keeper)
    child, record = session.child, session.record
    if record.input_closed:
        session.node.pump.end_input(record.id)
    if child is not None:
        if record.size is not None and held.master is not None:
            child.resize(record.size)
        await _go_on(session, child)
    _report_status(session, held)


async def _go_on(session: Session, child: Child) -> None:
    """Go on with a child that is held; an end that had begun is begun again."""
    record = session.record
    began = record.cause is not None
    session.record = record.but(state=State.STOPPING if began else State.RUNNING)
    child.begin_timeouts(record.timeouts, record.deadline_s)
    watch_readiness(session)
    if session.orphaned:
        child.watch_exit()
    if record.cause is not None:
        kill = any(entry.signal == SIGKILL for entry in record.delivered)
        begin = (SignalTree(record.cause.signal), BeginGrace(record.cause.grace_s))
        await session.perform((KillTree(),) if kill else begin)
    await session.controls.started()
    session.later()
    session.changed()


async def _adopt_ended(session: Session, held: Held | None, keeper: KeeperClient | None) -> None:
    if held is None or keeper is None:
        if session.child is not None and not session.record.kept:
            session.release(session.child)
        return
    if not session.record.kept:
        held.close()
        session.drop(keeper, held.generation)
        return
    session.take(held, keeper)
    session.node.pump.discard(session.record.id)


def _report_status(session: Session, held: Held) -> None:
    """The leader may have ended while nobody listened."""
    status = held.status if held.status is not None else session.record.status
    if status is not None:
        session.tell(ChildExited(held.generation, status))


async def recover(session: Session) -> Adopt:
    """After a crash: let go of everything held here and fetch the child again.

    What a dead keeper held cannot be fetched; the session goes on with its own descriptors.
    Raises KeeperError and OSError; then it still holds the child.
    """
    await session.stop()
    session.revive()
    child = session.child
    if child is not None and child.generation != session.record.generation:
        session.release(child)
        child = None
    keeper = session.node.keeper
    if session.orphaned or keeper is None or keeper.keeper_id != session.record.keeper_id:
        return Adopt(None)
    held = await _fetch(keeper, session.record)
    if session.child is child:  # else it ended meanwhile, and was let go
        session.let_go()
    if child is not None:
        child.close()
    await session.until_untapped()
    return Adopt(held, keeper)


async def _fetch(keeper: KeeperClient, record: SessionRecord) -> Held | None:
    """Return the child of this generation that the keeper holds; None when it holds none."""
    nothing_new = SpawnRequest(record.id, record.generation, (), {}, "/")  # no argv starts nothing
    try:
        return await keeper.spawn(nothing_new)
    except SpawnFailed:
        return None

"""The end of a generation: what becomes of its leftovers, and the record of its outcome."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from supervisor.child import KILL_S, Child
from supervisor.outcome import outcome_of
from supervisor.records import SessionRecord, State

if TYPE_CHECKING:
    from supervisor.session import Session

__all__ = ["conclude"]


async def conclude(session: Session, record: SessionRecord, child: Child | None) -> SessionRecord:
    """Kill or keep what outlived the leader; return the record with its outcome.

    Leftovers are kept only if the spec says so, nobody asked for the end, and no child follows: two
    trees of one session never live side by side. Afterwards no byte is added that the record does
    not count.
    """
    survivors: tuple[int, ...] = ()
    kept = False
    if child is not None:
        keep = record.spec.leftovers == "keep" and _ended_by_itself(record)
        kept = keep and bool(child.held.containment.pids())
        if not kept:
            survivors = await child.kill_leftovers()
        await _end_output(session, child, discard=kept or bool(survivors))
    node, given = session.node, session.input
    if survivors and record.state is State.BACKOFF:
        end = State.EXITED if record.status is not None else State.LOST
        record = record.but(state=end, backoff_until_s=None, gave_up=True)
    return record.but(
        outcome=outcome_of(record),
        ended_at_us=node.clock.wall_us(),
        last_output_at_us=session.last_output_at_us,
        output_oldest=session.reader.oldest,
        output_next=session.reader.next,
        output_complete=child.output_ended if child is not None else False,
        input_next=given.next if given is not None else record.input_next,
        kept=kept or bool(survivors),
        survivors=survivors,
    )


def _ended_by_itself(record: SessionRecord) -> bool:
    return record.cause is None and record.state.ended


async def _end_output(session: Session, child: Child, *, discard: bool) -> None:
    """Wait for the rest of the output; what leftovers go on printing is thrown away."""
    if not discard:
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                while not child.output_ended:
                    await session.changes.wait()
    if not child.output_ended:
        session.node.pump.discard(session.record.id)
        while not (child.discarding or child.output_ended):
            await session.changes.wait()

"""Whether a session is ready: its spec's condition, watched for in each generation until it is met.

Rules
- Met once is met for this generation; the next begins unready, and so does what follows an end.
- It is shown when it is durable. A daemon that dies before that leaves it to the next, which looks
  again from the start of the generation.
- What ends the watch is the generation's end; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from supervisor.conditions import Condition, UntilHttp, UntilIdle, UntilLog, UntilPort
from supervisor.errors import ActorStopped, SupervisorError
from supervisor.messages import BecameReady
from supervisor.output.segments import Stream
from supervisor.records import Event, ReadyWhen, SessionRecord, State
from supervisor.senses import Senses
from supervisor.waits import Wait, wait_for

if TYPE_CHECKING:
    from supervisor.session import Session

__all__ = ["became_ready", "unready_at_end", "watch_readiness"]

_RETRY_S = 1.0


def watch_readiness(session: Session) -> None:
    """Begin to wait for what makes this generation ready, if it is not known to be."""
    if session.record.spec.ready is not None and not session.record.ready:
        session.own(_watch(session, session.record.spec.ready))


async def became_ready(session: Session, fact: BecameReady) -> None:
    """Commit it, unless the end has begun meanwhile. Raises StoreFailed."""
    record = session.record
    if record.state is not State.RUNNING or record.ready:
        return
    ready = record.but(ready=True)
    await session.commit(ready, session.node.feed.event("session.ready", ready, fact.evidence))


def unready_at_end(session: Session, ended: SessionRecord) -> tuple[SessionRecord, list[Event]]:
    """Return the record of an end, and what is told when that ends its being ready."""
    if not ended.ready:
        return ended, []
    ended = ended.but(ready=False)
    return ended, [session.node.feed.event("session.unready", ended)]


async def _watch(session: Session, when: ReadyWhen) -> None:
    record, node = session.record, session.node
    try:
        condition = _condition(when, node.senses)
    except ValueError as error:  # another version took it: it is never met
        node.report(f"the ready condition of session {record.id} is not understood", error)
        return
    wait = Wait(session, [condition], node.clock, generation=record.generation)
    waited = await wait_for(wait, math.inf, node.senses)
    if waited.met is None:
        return
    fact = BecameReady(record.generation, waited.evidence or {})
    while True:
        try:
            await session.ask(fact, timeout_s=None)
        except ActorStopped:
            return
        except SupervisorError as error:  # the database, or a full mailbox
            node.report("a session's readiness could not be stored yet", error)
            await asyncio.sleep(_RETRY_S)
        else:
            return


def _condition(when: ReadyWhen, senses: Senses) -> Condition:
    """Return what is waited for. Raises ValueError."""
    if when.log is not None:
        streams = {None: None, "stdout": Stream.STDOUT, "stderr": Stream.STDERR}
        return UntilLog(senses.compile(when.log), streams[when.stream])
    if when.http is not None:
        return UntilHttp(when.http, when.status)
    if when.port is not None:
        return UntilPort(when.port if isinstance(when.port, int) else None)
    if when.idle is not None:
        return UntilIdle(when.idle)
    raise ValueError("no condition")

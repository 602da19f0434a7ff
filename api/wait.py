"""`/v1/sessions/{id}/wait`: answer when something about a session holds.

Rules
- At most 50 s, so that the answer comes before any proxy loses patience; clients ask again.
- A client that leaves ends its wait: nobody looks for ports for it any more.
- Patterns are RE2's: linear time whatever the pattern, and they never match a newline.
- `GET` takes the simple conditions: `for=exit`, `ended`, `ready`, `change`, `log:RE`, `port:N`,
  `http:URL`, `idle:S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.answers import Json, Services, services
from api.body import decode
from api.conditions import compile_search, conditions_of, simple
from api.errors import BadRequest
from api.query import Query
from api.stream import until_left
from api.views import session_view
from holdfast import wire
from supervisor.conditions import Condition
from supervisor.session import Session
from supervisor.waits import Wait, Waited, wait_for

__all__ = ["check_offset", "compile_search", "get_wait", "post_wait", "waited"]

_FIELDS: Final = frozenset({"for", "from_offset", "generation", "timeout"})
_MOST_TIMEOUT_S: Final = 50.0


async def post_wait(request: Request) -> Response:
    """Wait for the first of several conditions."""
    session = services(request).supervisor.find(request.path_params["id"])
    asked = await decode(request, wire.WaitRequest)
    return await _answer(request, session, asked)


async def get_wait(request: Request) -> Response:
    """Wait for conditions that fit into a query."""
    session = services(request).supervisor.find(request.path_params["id"])
    query = Query(request.scope["query_string"], _FIELDS, repeated=("for",))
    timeout_s = query.seconds("timeout", most=_MOST_TIMEOUT_S)
    asked = wire.WaitRequest(
        for_=[simple(text) for text in query.all("for")],
        from_offset=query.number("from_offset"),
        generation=query.number("generation", least=1),
        timeout=30.0 if timeout_s is None else timeout_s,
    )
    return await _answer(request, session, asked)


async def waited(
    request: Request,
    session: Session,
    asked: wire.WaitRequest,
    conditions: Sequence[Condition],
    *,
    fresh: bool = False,
) -> wire.WaitResult:
    """Wait for conditions that were checked already. Raises ClientDisconnect, Conflict.

    `fresh`: silence before now does not count.
    """
    shared: Services = services(request)
    wait = Wait(
        session,
        conditions,
        shared.supervisor.clock,
        generation=asked.generation,
        from_offset=asked.from_offset,
        fresh=fresh,
    )
    waiting = wait_for(wait, asked.timeout, shared.supervisor.senses)
    answer = await _unless_left(request, waiting)
    return wire.WaitResult(
        met=answer.met,
        reason=answer.reason,
        evidence=None if answer.evidence is None else dict(answer.evidence),
        session=session_view(session, shared.supervisor.clock),
        next_offset=answer.next_offset,
    )


async def _answer(request: Request, session: Session, asked: wire.WaitRequest) -> Response:
    conditions = conditions_of(asked, services(request).senses)
    check_offset(asked, session)
    return Json(await waited(request, session, asked, conditions))


def check_offset(asked: wire.WaitRequest, session: Session) -> None:
    """Refuse an offset that lies ahead of the output. Raises BadRequest."""
    end = session.reader.next
    if asked.from_offset is not None and asked.from_offset > end:
        message = f"from_offset {asked.from_offset} is ahead of the output, which ends at {end}."
        raise BadRequest(message)


async def _unless_left(request: Request, waiting: Coroutine[Any, Any, Waited]) -> Waited:
    """Wait, but not for a client that has left: raises ClientDisconnect then."""
    answer = asyncio.create_task(waiting)
    left = asyncio.create_task(until_left(request.receive))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        for task in (answer, left):
            task.cancel()
        await asyncio.gather(answer, left, return_exceptions=True)

"""`GET /v1/sessions/{id}/attach`: a WebSocket on a session, as a bare ASGI application.

Rules
- What is refused before the upgrade is an ordinary HTTP answer. Only a wish for the writer's role
  that another client holds is closed with 4409 after it, since a browser sees no HTTP status.
- Two tasks serve a client: one sends (`attach_output.py`), one receives (`attach_input.py`).
  Neither waits for the other. Whichever ends first ends both.
- A client that cannot be told why it is closed, because it reads nothing, is dropped after
  `CLOSE_S`; from the session it is detached before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.types import Receive, Scope, Send

from api.answers import Services
from api.attach_input import Incoming, error_text
from api.attach_output import Ending, Outgoing
from api.attach_wire import WRITER_HELD, Frames
from api.errors import ApiError, BadRequest, answer
from api.query import Query
from api.views import session_view
from holdfast.wire import SUBPROTOCOL
from supervisor.attachments import Attach, Attached, Role
from supervisor.errors import Conflict, LimitReached, SupervisorError
from supervisor.ids import is_id, new_id
from supervisor.session import Session

__all__ = ["AttachApp", "attach"]

CLOSE_S: Final = 10.0

_FIELDS: Final = frozenset({"offset", "tail_bytes", "role", "takeover", "on_slow", "client"})
_TAIL_MOST_BYTES: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the query says, with its defaults."""

    offset: int
    on_slow: str
    request: Attach


class AttachApp:
    """Serves attached clients; one for the whole daemon, since it counts them."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, from its upgrade to its close."""
        shared = cast("Services", scope["app"].state.services)
        await receive()  # websocket.connect
        try:
            session = shared.supervisor.find(scope["path_params"]["id"])
            asked = self._understand(scope, session, shared)
        except (ApiError, SupervisorError) as error:
            await answer(error)(scope, receive, send)
            return
        self._count += 1
        try:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            ending = await self._attach(session, asked, shared, receive, send)
            if ending is not None:
                await _close(send, ending)
        except OSError:
            pass  # the client left; uvicorn says so by ClientDisconnected, which is one
        finally:
            self._count -= 1

    def _understand(self, scope: Scope, session: Session, shared: Services) -> _Asked:
        """Return what is asked for. Raises BadRequest or LimitReached."""
        if SUBPROTOCOL not in scope["subprotocols"]:
            raise BadRequest(f"Name the sub-protocol {SUBPROTOCOL} (Sec-WebSocket-Protocol).")
        limit = shared.settings.limits.attachments
        if self._count >= limit:
            message = f"{limit} clients are attached, the limit (limits.attachments)."
            raise LimitReached(message, limit="attachments", value=limit)
        query = Query(scope["query_string"], _FIELDS)
        on_slow = query.choice("on_slow", ("gap", "block", "disconnect")) or "gap"
        if on_slow == "block" and session.record.on_full != "block":
            raise BadRequest("on_slow=block needs a session with output.on_full: block.")
        client = query.text("client")
        if client is not None and not is_id(client):
            raise BadRequest("client is 1 to 64 letters, digits, _ or -.")
        role = query.choice("role", ("writer", "observer"))
        clock = shared.supervisor.clock
        request = Attach(
            client=client or new_id(clock),
            by=scope["holdfast.by"],
            at_us=clock.wall_us(),
            role=Role(role) if role else None,
            takeover=query.flag("takeover"),
            lossless=on_slow == "block",
        )
        return _Asked(_start(query, session), on_slow, request)

    async def _attach(
        self, session: Session, asked: _Asked, shared: Services, receive: Receive, send: Send
    ) -> Ending | None:
        """Serve an accepted client; return how to close it, None when it is gone already."""
        clock = shared.supervisor.clock
        outgoing = Outgoing(session, asked.offset, asked.on_slow, clock, self._frames)
        try:
            attached = session.attachments.attach(asked.request, outgoing.tell)
        except Conflict as error:
            return Ending(WRITER_HELD, "another client is the writer", error_text(error))
        _tell(session, "session.attached", attached)
        try:
            outgoing.begin(attached, session_view(session, clock))
            incoming = Incoming(session, attached, outgoing, shared.supervisor)
            return await _first(outgoing.run(send), incoming.run(receive))
        finally:
            session.attachments.detach(attached)
            _tell(session, "session.detached", attached)


def _start(query: Query, session: Session) -> int:
    """Return the offset to begin at: as given, so many bytes before the end, or the oldest."""
    reader = session.reader
    offset, tail = query.number("offset"), query.number("tail_bytes", most=_TAIL_MOST_BYTES)
    if offset is not None and tail is not None:
        raise BadRequest("Give offset or tail_bytes, not both.")
    if offset is not None and offset > reader.next:
        raise BadRequest(f"Offset {offset} is ahead of the output.", next=reader.next)
    if tail is not None:
        return reader.tail_offset(max_bytes=tail)
    return reader.oldest if offset is None else offset


def _tell(session: Session, kind: str, attached: Attached) -> None:
    """Put it into the event log; a session that has ended is only being read."""
    session.changes.notify()
    if not session.final:
        session.note(kind, {"client": attached.client, "role": attached.role.value})


async def _first(*halves: Coroutine[Any, Any, Ending | None]) -> Ending | None:
    """Run both halves until one ends, and cancel the other."""
    tasks = [asyncio.create_task(half) for half in halves]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return next((result for result in results if isinstance(result, Ending)), None)


async def _close(send: Send, ending: Ending) -> None:
    """Say why, and close; uvicorn drops the connection when this gives up."""
    try:
        async with asyncio.timeout(CLOSE_S):
            if ending.error is not None:
                await send({"type": "websocket.send", "text": ending.error})
            await send({"type": "websocket.close", "code": ending.code, "reason": ending.reason})
    except TimeoutError:
        pass


attach: Final = AttachApp()

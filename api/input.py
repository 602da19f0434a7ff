"""`POST /v1/sessions/{id}/input`: bytes for a session's stdin, streamed, of any length.

Rules
- The body is not collected: each piece is accepted as the child takes what came before, so memory
  is bounded by the input limit and the connection slows down to the child's pace.
- With `offset` the request can be repeated: what is there already is compared, and passed over.
- What was accepted before a client vanished, or the session ended, stays accepted.
- `wait` and `read` are done after that, from where the output stood before it (step.py).
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Json, services
from api.query import Query
from api.step import check_on, step_of, take
from holdfast import wire
from supervisor.errors import Refused
from supervisor.session import Session
from supervisor.session_input import SessionInput

__all__ = ["FIELDS", "feed", "post_input"]

FIELDS: Final = ("offset", "close", "wait", "read")
"""The fields of the query; `wait` and `read` are JSON."""

T = TypeVar("T")


async def post_input(request: Request) -> Response:
    """Accept the body as input; `close` ends the input behind it; then `wait` and `read`."""
    shared = services(request)
    session = shared.supervisor.find(request.path_params["id"])
    query = Query(request.scope["query_string"], FIELDS)
    step = step_of(
        shared,
        _json(query.text("wait"), wire.WaitRequest),
        _json(query.text("read"), dict[str, str | int | float | bool]),
    )
    check_on(session, step)
    since = session.reader.next
    next_ = await _accept(request, session, query)
    waited, read = await take(request, session, step, since)
    return Json(wire.InputAccepted(next=next_, wait=waited, read=read))


async def _accept(request: Request, session: Session, query: Query) -> int:
    """Accept the whole body; return the offset behind it."""
    offset, close = query.number("offset"), query.flag("close")
    if close and _ended_before(session) and not await request.body():
        return session.record.input_next
    written = _open_input(session)
    if offset is not None:
        written.write(b"", offset)  # refuses an offset ahead of the input before reading the body
    async for chunk in request.stream():
        await feed(session, written, chunk, offset)
        offset = None if offset is None else offset + len(chunk)
    if close:
        await session.end_input()
    return written.next


def _json(text: str | None, kind: type[T]) -> T | None:
    """Return a field of the query that is JSON. Raises as msgspec's decoder does."""
    return None if text is None else msgspec.json.decode(text.encode(), type=kind)


async def feed(session: Session, written: SessionInput, data: bytes, offset: int | None) -> None:
    """Accept all of `data`, waiting for the child to make room.

    Raises InputConflict, and Refused when the input or the session ends before that.
    """
    while data:
        room = written.room
        if offset is not None:
            room += max(0, written.next - offset)  # a repeat takes none
        piece, data = data[: max(room, 0)], data[max(room, 0) :]
        if piece:
            written.write(piece, offset)
            session.changes.notify()  # an attached writer learns where the input goes on
            offset = None if offset is None else offset + len(piece)
        elif session.input is not written or session.final or not written.open:
            raise Refused("The session's input ended first.", next=written.next)
        else:
            await session.changes.wait()


def _ended_before(session: Session) -> bool:
    """Whether the input was ended, and the child with it: to end it again changes nothing."""
    return session.input is None and session.record.input_closed


def _open_input(session: Session) -> SessionInput:
    if session.input is None:
        raise Refused("This session takes no input: it was started with stdin: null, or ended.")
    return session.input

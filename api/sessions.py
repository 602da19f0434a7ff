"""Routes of sessions: create, list, get, change, remove."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Json, caller, encoded, services
from api.body import decode, decode_bytes, read_body
from api.conditions import check_ready
from api.errors import BadRequest, Invalid
from api.list_query import parse, select
from api.requests import create_session, with_capacity
from api.step import step_of, take
from api.views import ports_view, session_view, usage_view
from holdfast import wire

__all__ = ["create", "flag", "get", "list_", "patch", "remove"]


async def create(request: Request) -> Response:
    """Start a session, or answer with the one that has the ID or the name already.

    With `wait` and `read` the answer comes when both are done.
    """
    shared = services(request)
    body = await read_body(request, command=True)
    asked = decode_bytes(body, wire.SessionRequest)
    check_ready(asked.ready, shared.senses)
    if asked.wait is not None and asked.wait.generation is not None:
        raise Invalid("A start waits for its own generation.", path="$.wait.generation")
    step = step_of(shared, asked.wait, asked.read)
    capacity = shared.settings.output.capacity_bytes
    if capacity != asked.output.capacity:
        asked = with_capacity(body, asked, capacity)
    wanted = create_session(asked, caller(request), shared.settings.limits.argv_env_bytes)
    session, created = await shared.supervisor.create(wanted)
    status = HTTPStatus.CREATED if created else HTTPStatus.OK
    if not step.is_empty:
        waited, read = await take(request, session, step)
        view = session_view(session, shared.supervisor.clock)
        answer = wire.SessionCreated(session=view, created=created, wait=waited, read=read)
        return Json(answer, status)
    content = b'{"session":%b,"created":%b}' % (
        shared.views.encoded(session),
        b"true" if created else b"false",
    )
    return encoded(content, status)


async def list_(request: Request) -> Response:
    """Answer with the page of sessions that the query selects."""
    shared = services(request)
    query = parse(request.query_params.multi_items())
    if query.usage or "port" in query.filters:
        await shared.supervisor.sampling.fresh(usage=query.usage)
    # Taken first, so that a change while the page is made is told by an event after it.
    event_cursor = shared.supervisor.feed.last
    sessions = shared.supervisor.sessions()
    shared.views.forget_others(sessions)
    page, cursor = select(sessions, query)
    return encoded(shared.views.page(page, cursor, event_cursor, usage=query.usage))


async def get(request: Request) -> Response:
    """Answer with one session, its ports and its usage as they are at this moment."""
    shared = services(request)
    session = shared.supervisor.find(request.path_params["id"])
    ports = ports_view(await shared.supervisor.sampling.look_at(session))
    usage = usage_view(session) or msgspec.UNSET
    view = session_view(session, shared.supervisor.clock)
    return Json(msgspec.structs.replace(view, usage=usage, ports=ports))


async def patch(request: Request) -> Response:
    """Change name, labels, or what happens when the output is full."""
    shared = services(request)
    asked = await decode(request, wire.SessionPatch)
    session = shared.supervisor.find(request.path_params["id"])
    named = msgspec.structs.asdict(asked)
    changes = {name: value for name, value in named.items() if value is not msgspec.UNSET}
    changed = await shared.supervisor.patch(session.record.id, changes)
    return encoded(shared.views.encoded(changed))


async def remove(request: Request) -> Response:
    """Forget a finished session; with `force=true` kill a living one first."""
    shared = services(request)
    force = flag(request, "force")
    session = shared.supervisor.find(request.path_params["id"])
    await shared.supervisor.remove(session.record.id, force=force, by=caller(request))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def flag(request: Request, name: str) -> bool:
    """Return a query's `true` or `false`, false when absent. Raises BadRequest."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise BadRequest(f"{name} is true or false.", query=name)
    return text == "true"

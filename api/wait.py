"""`/v1/sessions/{id}/wait`: answer when something about a session holds.

Rules
- At most 50 s, so that the answer comes before any proxy loses patience; clients ask again.
- A client that leaves ends its wait: nobody looks for ports for it any more.
- Patterns are RE2's: linear time whatever the pattern, and they never match a newline.
- `GET` takes the simple conditions: `for=exit`, `ended`, `change`, `log:RE`, `port:N`, `idle:S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, Final, Literal

import msgspec
import re2  # type: ignore[import-untyped]  # google-re2 ships no types
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.answers import Json, services
from api.body import decode
from api.errors import BadRequest, Invalid
from api.query import Query
from api.stream import until_left
from api.views import session_view
from holdfast import wire
from supervisor.conditions import (
    Condition,
    UntilChange,
    UntilEnded,
    UntilExit,
    UntilIdle,
    UntilLog,
    UntilPort,
)
from supervisor.listeners import Listening, listening
from supervisor.log_search import Search
from supervisor.session import Session
from supervisor.waits import Wait, Waited, wait_for

__all__ = ["compile_search", "condition_of", "get_wait", "post_wait"]

_FIELDS: Final = frozenset({"for", "from_offset", "generation", "timeout"})
_Word = Literal["exit", "ended", "change"]
_WORDS: Final[Mapping[_Word, Condition]] = {
    "exit": UntilExit(),
    "ended": UntilEnded(),
    "change": UntilChange(),
}
_STREAMS: Final = {"stdout": 1, "stderr": 2}
_MOST_CONDITIONS: Final = 16
_MOST_TIMEOUT_S: Final = 50.0
_PATTERN_CHARACTERS: Final = 4096
_PORTS: Final = range(1, 65536)


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
        for_=[_simple(text) for text in query.all("for")],
        from_offset=query.number("from_offset"),
        generation=query.number("generation", least=1),
        timeout=30.0 if timeout_s is None else timeout_s,
    )
    return await _answer(request, session, asked)


def condition_of(asked: wire.Condition | _Word, at: int) -> Condition:
    """Return what the supervisor waits for. Raises Invalid; `at` is the place in the list."""
    if isinstance(asked, str):
        return _WORDS[asked]
    path = f"$.for[{at}]"
    given = [name for name in ("log", "port", "idle") if getattr(asked, name) is not None]
    if len(given) != 1:
        raise Invalid("A condition is one of log, port and idle.", path=path)
    if asked.stream is not None and asked.log is None:
        raise Invalid("stream belongs to log.", path=f"{path}.stream")
    if asked.log is not None:
        stream = None if asked.stream is None else _STREAMS[asked.stream]
        return UntilLog(compile_search(asked.log, f"{path}.log"), stream)
    if asked.idle is not None:
        return UntilIdle(asked.idle)
    if asked.port == "any":
        return UntilPort(None)
    if asked.port is None or asked.port not in _PORTS:
        raise Invalid("A port is 1 to 65535, or any.", path=f"{path}.port")
    return UntilPort(asked.port)


def compile_search(pattern: str, path: str) -> Search:
    """Return a search for an RE2 pattern, `^` and `$` being those of lines. Raises Invalid."""
    if not 0 < len(pattern) <= _PATTERN_CHARACTERS:
        raise Invalid(f"A pattern has 1 to {_PATTERN_CHARACTERS} characters.", path=path)
    options = re2.Options()
    options.never_nl = True
    options.log_errors = False
    try:
        compiled = re2.compile(b"(?m)" + pattern.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "syntax"
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise Invalid(f"That is no RE2 pattern: {shown}.", path=path) from error

    def search(lines: bytes) -> tuple[int, int] | None:
        found = compiled.search(lines)
        return None if found is None else found.span()

    return search


async def _answer(request: Request, session: Session, asked: wire.WaitRequest) -> Response:
    conditions = _conditions(asked)
    reader = session.reader
    if asked.from_offset is not None and asked.from_offset > reader.next:
        raise BadRequest(
            f"from_offset {asked.from_offset} is ahead of the output, which ends at {reader.next}."
        )
    clock = services(request).supervisor.clock
    wait = Wait(
        session,
        conditions,
        clock,
        generation=asked.generation,
        from_offset=asked.from_offset,
    )
    waited = await _unless_left(request, wait_for(wait, asked.timeout, _listen))
    view = session_view(session, clock)
    evidence = None if waited.evidence is None else dict(waited.evidence)
    return Json(
        wire.WaitResult(
            met=waited.met,
            reason=waited.reason,
            evidence=evidence,
            session=view,
            next_offset=waited.next_offset,
        )
    )


async def _unless_left(request: Request, waiting: Coroutine[Any, Any, Waited]) -> Waited:
    """Wait, but not for a client that has left: raises ClientDisconnect then."""
    waited = asyncio.create_task(waiting)
    left = asyncio.create_task(until_left(request.receive))
    try:
        await asyncio.wait({waited, left}, return_when=asyncio.FIRST_COMPLETED)
        if not waited.done():
            raise ClientDisconnect
        return waited.result()
    finally:
        for task in (waited, left):
            task.cancel()
        await asyncio.gather(waited, left, return_exceptions=True)


def _conditions(asked: wire.WaitRequest) -> list[Condition]:
    if not 0 < len(asked.for_) <= _MOST_CONDITIONS:
        raise Invalid(f"Give 1 to {_MOST_CONDITIONS} conditions.", path="$.for")
    return [condition_of(one, at) for at, one in enumerate(asked.for_)]


def _simple(text: str) -> wire.Condition | _Word:
    """Return the condition that `exit`, `log:RE`, `port:N` or `idle:S` stands for."""
    word, _, value = text.partition(":")
    for known in _WORDS:
        if text == known:
            return known
    if word == "log":
        return wire.Condition(log=value)
    if word == "port" and (value == "any" or value.isdecimal()):
        return wire.Condition(port="any" if value == "any" else int(value))
    if word == "idle":
        try:
            return msgspec.convert({"idle": float(value)}, wire.Condition)
        except ValueError as error:  # msgspec.ValidationError is one
            raise BadRequest("idle needs seconds above 0, such as idle:2.5") from error
    raise BadRequest(f"for={text!r}: give exit, ended, change, log:RE, port:N or idle:S.")


async def _listen(pids: Collection[int], port: int | None) -> Listening:
    """Look into /proc on a thread."""
    return await asyncio.to_thread(listening, pids, port)

"""Routes that control a session; each accepted request leaves a receipt.

Rules
- The command's ID comes from the body or from `Idempotency-Key`; without one it is made here, and
  then the request cannot be repeated safely.
- The answer is 200 with the settled receipt, done or failed; 202 with the accepted one for `wait:
  false`, and for `signal`, whose effect nobody can verify.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Json, caller, services
from api.body import decode
from api.errors import BadRequest, Invalid
from api.requests import check_environment, check_timeouts, signal_field
from api.views import receipt_view
from holdfast import wire
from supervisor.commands import Command
from supervisor.ids import is_id, new_id
from supervisor.records import Verb

__all__ = ["VERBS", "receipt"]

B = TypeVar("B", bound=wire.CommandBody)


def _stop(asked: wire.StopRequest) -> dict[str, Any]:
    signal = None if asked.signal is None else signal_field(asked.signal, "$.signal")
    return {"signal": signal, "grace": asked.grace}


def _kill(_asked: wire.KillRequest) -> dict[str, Any]:
    return {}


def _signal(asked: wire.SignalRequest) -> dict[str, Any]:
    return {"signal": signal_field(asked.signal, "$.signal"), "target": asked.target}


def _restart(asked: wire.RestartRequest) -> dict[str, Any]:
    if asked.base_env is UNSET:
        return {}
    check_environment(asked.base_env, "$.base_env")
    return {"base_env": asked.base_env}


def _resize(asked: wire.ResizeRequest) -> dict[str, Any]:
    return {"rows": asked.rows, "cols": asked.cols}


def _timeout(asked: wire.TimeoutRequest) -> dict[str, Any]:
    named = {name: getattr(asked, name) for name in ("run", "idle", "disconnect")}
    timeouts = {name: seconds for name, seconds in named.items() if seconds is not UNSET}
    if not timeouts:
        raise Invalid("Name a timeout to set: run, idle or disconnect.", path="$.run")
    check_timeouts(timeouts, "$")
    return timeouts


def _route(
    verb: Verb, kind: type[B], arguments: Callable[[B], Mapping[str, Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def control(request: Request) -> Response:
        asked = await decode(request, kind)
        return await _carry_out(request, asked, verb, arguments(asked))

    control.__name__ = verb.value
    return control


VERBS: Mapping[str, tuple[type[wire.CommandBody], Callable[[Request], Awaitable[Response]]]] = {
    "stop": (wire.StopRequest, _route(Verb.STOP, wire.StopRequest, _stop)),
    "kill": (wire.KillRequest, _route(Verb.KILL, wire.KillRequest, _kill)),
    "signal": (wire.SignalRequest, _route(Verb.SIGNAL, wire.SignalRequest, _signal)),
    "restart": (wire.RestartRequest, _route(Verb.RESTART, wire.RestartRequest, _restart)),
    "resize": (wire.ResizeRequest, _route(Verb.RESIZE, wire.ResizeRequest, _resize)),
    "timeout": (wire.TimeoutRequest, _route(Verb.TIMEOUT, wire.TimeoutRequest, _timeout)),
}


async def receipt(request: Request) -> Response:
    """Answer with what became of a control request."""
    found = await services(request).supervisor.receipt(request.path_params["command_id"])
    return Json(receipt_view(found))


async def _carry_out(
    request: Request, asked: wire.CommandBody, verb: Verb, arguments: Mapping[str, Any]
) -> Response:
    supervisor = services(request).supervisor
    session = supervisor.find(request.path_params["id"])
    command = Command(
        command_id=_command_id(request, asked) or new_id(supervisor.clock),
        verb=verb,
        session=session.record.id,
        by=caller(request),
        generation=asked.generation,
        reason=asked.reason,
        args=arguments,
    )
    settled = await supervisor.control(command, wait=asked.wait)
    verified = asked.wait and verb is not Verb.SIGNAL
    return Json(receipt_view(settled), HTTPStatus.OK if verified else HTTPStatus.ACCEPTED)


def _command_id(request: Request, asked: wire.CommandBody) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not is_id(key):
        raise BadRequest("Idempotency-Key is 1 to 64 letters, digits, _ or -.")
    if key is not None and asked.command_id not in (None, key):
        raise BadRequest("Idempotency-Key and command_id name two commands.")
    return asked.command_id or key

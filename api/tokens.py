"""`POST /v1/tokens`: credentials for TCP. The secret is shown once and stored as its hash."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.answers import Json, services
from api.body import decode
from api.gate import secret_hash
from holdfast import wire
from supervisor.errors import LimitReached
from supervisor.ids import new_id
from supervisor.records import Token

__all__ = ["TOKENS", "create"]

TOKENS: Final = 1000
"""How many tokens a node keeps: all of them lie in memory."""

_SECRET_BYTES: Final = 32


async def create(request: Request) -> Response:
    """Make a token and show it this once; every token may do everything so far."""
    supervisor = services(request).supervisor
    asked = await decode(request, wire.TokenRequest)
    if len(supervisor.tokens) >= TOKENS:
        message = f"There are {TOKENS} tokens already, as many as may be."
        raise LimitReached(message, limit="tokens", value=TOKENS)
    secret = f"hf_{secrets.token_urlsafe(_SECRET_BYTES)}"
    token = Token(
        accessor=new_id(supervisor.clock),
        secret_hash=secret_hash(secret),
        name=asked.name,
        created_at_us=supervisor.clock.wall_us(),
    )
    await supervisor.add_token(token)
    answer = wire.TokenCreated(accessor=token.accessor, name=token.name, token=secret)
    return Json(answer, HTTPStatus.CREATED)

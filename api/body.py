"""Reading what a client sends: bounded in size and in time.

Rules
- No more than `limits.body_bytes` of a body are ever held (413); where it carries a command,
  `limits.argv_env_bytes` more, so that this limit can be reached, and is the one that is named.
- None is waited for longer than `BODY_DEADLINE_S` in all, so a client that trickles holds a
  connection no longer than that.
- An empty body is the request with every field at its default.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar, cast

import msgspec
from starlette.requests import Request

from api.errors import BadRequest
from supervisor.errors import TooLarge

__all__ = ["BODY_DEADLINE_S", "decode", "decode_bytes", "read_body"]

BODY_DEADLINE_S: Final = 30.0

T = TypeVar("T", bound=msgspec.Struct)

_decoders: dict[type, msgspec.json.Decoder[object]] = {}


async def read_body(request: Request, *, command: bool = False) -> bytes:
    """Return the whole body, which may carry a `command`.

    Raises TooLarge, BadRequest, and ClientDisconnect of Starlette.
    """
    limits = request.app.state.settings.limits
    limit: int = limits.body_bytes + (limits.argv_env_bytes if command else 0)
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise BadRequest(f"The body did not arrive within {BODY_DEADLINE_S:g} seconds.") from error
    return bytes(body)


async def decode(request: Request, kind: type[T], *, command: bool = False) -> T:
    """Return the body as a `kind`, which may carry a `command`.

    Raises what `read_body` raises, msgspec.ValidationError for JSON of another shape, and
    msgspec.DecodeError for what is not JSON.
    """
    return decode_bytes(await read_body(request, command=command), kind)


def decode_bytes(body: bytes, kind: type[T]) -> T:
    """Return `body` as a `kind`; an empty one is `{}`."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    try:
        return cast("T", decoder.decode(body or b"{}"))
    except UnicodeDecodeError as error:  # msgspec lets it through
        raise msgspec.DecodeError(f"not UTF-8: {error.reason}") from error


def _too_large(limit: int) -> TooLarge:
    message = f"The body is larger than the limit of {limit} bytes (limits.body_bytes)."
    return TooLarge(message, limit="body_bytes", value=limit)

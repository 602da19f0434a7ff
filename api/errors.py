"""What went wrong, as HTTP says it: one table from error class to status and code.

Rules
- Every error answer has the body `{"error": {"code", "message", "details"}}`.
- The codes are a closed set: clients rebuild their error classes from them.
- The first class of an error's ancestry that stands in `TABLE` decides.
- No answer carries a traceback, an argument list or a value of an environment variable.

Errors of this package, beside those of `supervisor.errors`:

    ApiError
    ├── BadRequest          the request cannot be understood
    ├── Invalid             JSON of the wrong shape, or a value out of its range
    ├── Unauthenticated     no credential, or one that is not known
    ├── PermissionDenied    known, and not allowed
    ├── TimedOut            it did not end in the time given
    └── Unavailable         not now; the same request may succeed later
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ExceptionHandler

from holdfast import wire
from supervisor import errors

__all__ = [
    "TABLE",
    "ApiError",
    "BadRequest",
    "Invalid",
    "PermissionDenied",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "answer",
    "describe",
    "exception_handlers",
]


class ApiError(Exception):
    """Base of what the API refuses by itself: a sentence, and JSON-compatible `details`."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details


class BadRequest(ApiError):
    """The request cannot be understood: not JSON, a bad query, a bad cursor."""


class Invalid(ApiError):
    """A value is of the wrong shape or out of range; `details["path"]` says where (`$.size`)."""


class Unauthenticated(ApiError):
    """There is no credential, or one that is not known."""


class PermissionDenied(ApiError):
    """The caller is known and may not do this."""


class TimedOut(ApiError):
    """What was asked did not end in the time given."""


class Unavailable(ApiError):
    """The daemon cannot do this now."""


TABLE: Mapping[type[Exception], tuple[int, str]] = {
    msgspec.ValidationError: (422, "VALIDATION_FAILED"),
    msgspec.DecodeError: (400, "BAD_REQUEST"),
    BadRequest: (400, "BAD_REQUEST"),
    Invalid: (422, "VALIDATION_FAILED"),
    Unauthenticated: (401, "UNAUTHENTICATED"),
    PermissionDenied: (403, "PERMISSION_DENIED"),
    TimedOut: (504, "TIMEOUT"),
    Unavailable: (503, "UNAVAILABLE"),
    errors.SpawnRefused: (400, "SPAWN_FAILED"),
    errors.Refused: (400, "BAD_REQUEST"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.NameInUse: (409, "NAME_IN_USE"),
    errors.Conflict: (409, "CONFLICT"),
    errors.Gone: (410, "GONE"),
    errors.TooLarge: (413, "TOO_LARGE"),
    errors.LimitReached: (429, "LIMIT_REACHED"),
    errors.AskTimeout: (504, "TIMEOUT"),
    errors.ActorStopped: (503, "UNAVAILABLE"),
    errors.StoreFailed: (503, "UNAVAILABLE"),
}

# What Starlette itself refuses. 405 has no code of its own: the set is closed.
_BY_STATUS: Mapping[int, tuple[str, str]] = {
    404: ("NOT_FOUND", "There is no such route."),
    405: ("BAD_REQUEST", "This route does not take that method."),
}

_PATTERNS: Mapping[str, str] = {
    wire.ID_PATTERN: "1 to 64 letters, digits, _ or -, beginning with a letter or digit",
    wire.LABEL_KEY_PATTERN: "1 to 63 letters, digits, . _ / or -, beginning with a letter or digit",
}


def describe(error: Exception) -> tuple[int, wire.ErrorBody]:
    """Return the HTTP status and the body for any error; what is not in the table is 500."""
    for ancestor in type(error).__mro__:
        if ancestor in TABLE:
            status, code = TABLE[ancestor]
            message, details = _words(error)
            return status, wire.ErrorBody(code=code, message=message, details=details)
    message = "The daemon failed to answer; its log says why."
    return 500, wire.ErrorBody(code="INTERNAL", message=message)


def answer(error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """Return the error as a response; also a refusal before a WebSocket's upgrade."""
    status, body = describe(error)
    return _response(status, body, headers)


def exception_handlers() -> dict[Any, ExceptionHandler]:
    """Return what the application does with an error that leaves a route."""
    # Starlette runs a handler that is not a coroutine in a thread.
    # `Exception` also goes on to uvicorn, which logs the traceback.
    return {
        errors.SupervisorError: _known,
        ApiError: _known,
        msgspec.DecodeError: _known,
        ClientDisconnect: _vanished,
        HTTPException: _starlette,
        Exception: _known,
    }


def _words(error: Exception) -> tuple[str, dict[str, Any]]:
    """Return the sentence and the details; msgspec ends its sentence with the JSON path."""
    if isinstance(error, (ApiError, errors.SupervisorError)):
        return error.message, dict(error.details)
    message, _, path = str(error).partition(" - at `")
    if isinstance(error, msgspec.ValidationError):
        place = path.rstrip("`") or "$"
        return _about(place, message), {"path": place}
    return f"The body is not JSON: {message}.", {}


def _about(place: str, message: str) -> str:
    """Return msgspec's sentence with the field that it is about, and no pattern in it."""
    for pattern, words in _PATTERNS.items():
        if message.endswith(f"matching regex {pattern!r}"):
            message = f"Expected {words}"
    field = place.removeprefix("$").removeprefix(".")
    return f"{field}: {message[0].lower()}{message[1:]}." if field else f"{message}."


def _response(
    status: int, body: wire.ErrorBody, headers: Mapping[str, str] | None = None
) -> Response:
    content = msgspec.json.encode(wire.ErrorAnswer(error=body))
    return Response(content, status, headers, media_type="application/json")


async def _known(_connection: HTTPConnection, error: Exception) -> Response:
    return answer(error)


async def _vanished(_connection: HTTPConnection, _error: Exception) -> Response:
    """Answer into the void: the client left before its body was complete."""
    return answer(BadRequest("The body ended before it was complete."))


async def _starlette(_connection: HTTPConnection, error: Exception) -> Response:
    refused = cast("HTTPException", error)
    code, message = _BY_STATUS.get(refused.status_code, ("BAD_REQUEST", refused.detail))
    body = wire.ErrorBody(code=code, message=message)
    return _response(refused.status_code, body, refused.headers)

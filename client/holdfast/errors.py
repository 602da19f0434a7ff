"""The errors of the client, rebuilt from the stable codes of the server's answers.

    HoldfastError
    ├── NotReachable          no daemon answers at the address, or none did for the whole patience
    ├── ProtocolBroken        the server said something that the protocol does not allow
    ├── Detached              this client left, or was replaced; the session goes on
    ├── Gap                   output that is no longer kept was passed over: `from_`, `to`
    ├── EndedFirst            the session ended before what was waited for
    ├── CommandFailed         `run(check=True)`: the command did not exit with 0
    ├── NotWriter             input from an attachment that is an observer
    ├── InputLost             written input that the child will never read: `from_`, `to`
    ├── BadRequest            400 BAD_REQUEST
    │   └── SpawnFailed       400 SPAWN_FAILED: `errno`, `stage`, `session_id`
    ├── Unauthenticated       401 UNAUTHENTICATED
    ├── PermissionDenied      403 PERMISSION_DENIED
    ├── NotFound              404 NOT_FOUND
    ├── Conflict              409 CONFLICT
    │   └── NameInUse         409 NAME_IN_USE
    ├── Gone                  410 GONE
    ├── TooLarge              413 TOO_LARGE
    ├── ValidationFailed      422 VALIDATION_FAILED
    ├── LimitReached          429 LIMIT_REACHED
    ├── InternalError         500 INTERNAL
    ├── NodeUnreachable       502 NODE_UNREACHABLE
    ├── Unavailable           503 UNAVAILABLE
    └── TimedOut              504 TIMEOUT, and every timeout that a caller of the SDK set

`TimedOut` is also a `TimeoutError`, `NotReachable` a `ConnectionError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from holdfast.result import Result
    from holdfast.wire import SessionView

__all__ = [
    "BadRequest",
    "CommandFailed",
    "Conflict",
    "Detached",
    "EndedFirst",
    "Gap",
    "Gone",
    "HoldfastError",
    "InputLost",
    "InternalError",
    "LimitReached",
    "NameInUse",
    "NodeUnreachable",
    "NotFound",
    "NotReachable",
    "NotWriter",
    "PermissionDenied",
    "ProtocolBroken",
    "SpawnFailed",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "ValidationFailed",
    "error_from",
]

TAIL_BYTES = 2000


class HoldfastError(Exception):
    """Base of all errors that this package raises on purpose.

    `message` is one sentence for a person, `details` what the server said for programs, `status`
    the HTTP status that brought the error, 0 where none did. `repeated` says that an earlier try of
    the same request got no answer, and may have been carried out.
    """

    code: ClassVar[str] = ""

    def __init__(
        self, message: str, *, details: Mapping[str, Any] | None = None, status: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details or {}
        self.status = status
        self.repeated = False


class NotReachable(HoldfastError, ConnectionError):
    """No daemon answers at the address. What was asked may or may not have happened."""


class ProtocolBroken(HoldfastError):
    """The server said something that the protocol does not allow."""


class Detached(HoldfastError):
    """This client left the session, or another took its place. The session itself goes on."""


class Gap(HoldfastError):
    """Output between two offsets is no longer kept; reading goes on at `to`.

    `from_` is the first offset missing, `to` the first one after. `reason` is `dropped` (the ring
    was full) or `slow` (this reader was).
    """

    def __init__(self, from_: int, to: int, reason: str) -> None:
        super().__init__(f"output from {from_} to {to} is no longer kept ({reason})")
        self.from_ = from_
        self.to = to
        self.reason = reason


class EndedFirst(HoldfastError):
    """The session ended before what was waited for; `session` is its last view."""

    def __init__(self, session: SessionView) -> None:
        super().__init__(f"session {session.id} ended first: {session.message}")
        self.session = session


class CommandFailed(HoldfastError):
    """A checked command did not exit with 0; `result` holds all of its output."""

    def __init__(self, result: Result) -> None:
        tail = result.stderr[-TAIL_BYTES:].decode(errors="replace").strip()
        super().__init__(f"{result.summary()}" + (f"\n{tail}" if tail else ""))
        self.result = result


class NotWriter(HoldfastError):
    """Another client writes to this session; attach with `takeover=True` to write instead."""


class InputLost(HoldfastError):
    """Input from `from_` up to `to` was written and will never reach the child."""

    def __init__(self, from_: int, to: int) -> None:
        super().__init__(f"input from {from_} to {to} did not reach the command")
        self.from_ = from_
        self.to = to


class BadRequest(HoldfastError):
    """The request makes no sense, or the machine refuses it."""

    code = "BAD_REQUEST"


class SpawnFailed(BadRequest):
    """The command could not be started."""

    code = "SPAWN_FAILED"

    @property
    def errno(self) -> str | None:
        """The system's name of the error, such as ENOENT."""
        return self.details.get("errno")

    @property
    def stage(self) -> str | None:
        """The step that failed, such as `exec` or `cwd`."""
        return self.details.get("stage")

    @property
    def session_id(self) -> str | None:
        """The session that records the failure."""
        return self.details.get("session_id")


class Unauthenticated(HoldfastError):
    """No credential, or one that the server does not know."""

    code = "UNAUTHENTICATED"


class PermissionDenied(HoldfastError):
    """The credential does not allow this."""

    code = "PERMISSION_DENIED"


class NotFound(HoldfastError):
    """There is no such session, receipt or route."""

    code = "NOT_FOUND"


class Conflict(HoldfastError):
    """The request contradicts what is there; the details say how."""

    code = "CONFLICT"


class NameInUse(Conflict):
    """Another live session holds the name."""

    code = "NAME_IN_USE"


class Gone(HoldfastError):
    """It was there and is no longer kept; `details["oldest"]` is the oldest that is."""

    code = "GONE"


class TooLarge(HoldfastError):
    """The request is larger than a limit of the server."""

    code = "TOO_LARGE"


class ValidationFailed(HoldfastError):
    """A field is unknown, missing, or of the wrong type or range."""

    code = "VALIDATION_FAILED"


class LimitReached(HoldfastError):
    """A limit of the server is reached; `details["limit"]` names it."""

    code = "LIMIT_REACHED"


class InternalError(HoldfastError):
    """The server failed; its log says more."""

    code = "INTERNAL"


class NodeUnreachable(HoldfastError):
    """The node that owns the session does not answer."""

    code = "NODE_UNREACHABLE"


class Unavailable(HoldfastError):
    """The server cannot do this now; the same request may succeed later."""

    code = "UNAVAILABLE"


class TimedOut(HoldfastError, TimeoutError):
    """The time that the caller gave is over. After `run`, `result` holds the output so far."""

    code = "TIMEOUT"
    result: Result | None = None


def _coded(base: type[HoldfastError]) -> dict[str, type[HoldfastError]]:
    """Every class below `base` that has a code of its own, by code."""
    found = {base.code: base} if "code" in vars(base) and base.code else {}
    for below in base.__subclasses__():
        found.update(_coded(below))
    return found


BY_CODE: Mapping[str, type[HoldfastError]] = _coded(HoldfastError)


def error_from(
    code: str, message: str, details: Mapping[str, Any] | None = None, status: int = 0
) -> HoldfastError:
    """Rebuild the error of a server's answer; a code from a newer server gives the base class."""
    return BY_CODE.get(code, HoldfastError)(message, details=details, status=status)

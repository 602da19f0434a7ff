"""The errors of the supervisor, with the fields that say what happened.

    SupervisorError
    ├── NotFound              no session of that ID or name
    ├── Conflict              the request contradicts what is there
    │   ├── NameInUse         another live session holds the name
    │   └── InputConflict     input at that offset was, or would be, something else
    ├── Gone                  it was there; it is not kept any more
    ├── Refused               the machine or the session's state does not allow it
    │   └── SpawnRefused      the command could not be started
    ├── LimitReached          a configured limit is reached
    ├── TooLarge              one request is larger than a limit
    ├── AskTimeout            an actor did not answer in time
    ├── ActorStopped          the actor ended before it answered
    ├── StoreFailed           the database refused; nothing was stored
    └── StartRefused          the daemon cannot serve this state directory

Every error reads as one sentence for a person and carries `details` for a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ActorStopped",
    "AskTimeout",
    "Conflict",
    "Gone",
    "InputConflict",
    "LimitReached",
    "NameInUse",
    "NotFound",
    "Refused",
    "SpawnRefused",
    "StartRefused",
    "StoreFailed",
    "SupervisorError",
    "TooLarge",
]


class SupervisorError(Exception):
    """Base of all errors that the supervisor raises on purpose.

    `details` is JSON-compatible and never holds a value of an environment variable.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details


class NotFound(SupervisorError):
    """There is no session, receipt or machine of that ID or name."""


class Conflict(SupervisorError):
    """The request contradicts what is there; `details["differing"]` names the fields."""


class NameInUse(Conflict):
    """Another live session holds the name; `details["session_id"]` is its ID."""


class InputConflict(Conflict):
    """Input at that offset is not a repeat; `details["next"]` is the offset to go on from."""


class Gone(SupervisorError):
    """What was asked for is no longer kept; `details["oldest"]` is the oldest that is."""


class Refused(SupervisorError):
    """The state of the session or the machine does not allow the request."""


class SpawnRefused(Refused):
    """The command could not be started: `errno`, `stage` and `session_id` in the details."""


class LimitReached(SupervisorError):
    """A limit is reached; `details` has `limit` (the setting's name) and `value`."""


class TooLarge(SupervisorError):
    """One request is larger than a limit allows; `details` has `limit` and `value`."""


class AskTimeout(SupervisorError):
    """An actor did not answer in the time given. What was asked may still happen."""


class ActorStopped(SupervisorError):
    """The actor ended before it answered. What was asked may or may not have happened."""


class StoreFailed(SupervisorError):
    """The database refused the change; none of it was stored."""


class StartRefused(SupervisorError):
    """The daemon cannot serve this state directory; the message says what to do."""

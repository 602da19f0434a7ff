"""What one can wait for about a session."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.log_search import Search

__all__ = [
    "Condition",
    "UntilChange",
    "UntilEnded",
    "UntilExit",
    "UntilHttp",
    "UntilIdle",
    "UntilLog",
    "UntilPort",
    "UntilReady",
]


@dataclass(frozen=True, slots=True)
class UntilExit:
    """This generation has ended."""


@dataclass(frozen=True, slots=True)
class UntilEnded:
    """The session has ended and nothing follows."""


@dataclass(frozen=True, slots=True)
class UntilChange:
    """Anything users see has changed, apart from output and input offsets."""


@dataclass(frozen=True, slots=True)
class UntilPort:
    """A process of the tree listens on this TCP port; None is any port."""

    port: int | None


@dataclass(frozen=True, slots=True)
class UntilLog:
    """A line of the output matches; `stream` limits it to 1 (stdout) or 2 (stderr)."""

    search: Search
    stream: int | None = None


@dataclass(frozen=True, slots=True)
class UntilIdle:
    """No output came for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class UntilHttp:
    """A GET of this URL is answered with `status`; None is any from 200 to 399."""

    url: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class UntilReady:
    """The session's own condition (`ready` of its spec) holds; without one: it runs."""


Condition = (
    UntilExit | UntilEnded | UntilChange | UntilPort | UntilLog | UntilIdle | UntilHttp | UntilReady
)

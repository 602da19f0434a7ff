"""What one can wait for about a session."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.log_search import Search

__all__ = [
    "Condition",
    "UntilChange",
    "UntilEnded",
    "UntilExit",
    "UntilIdle",
    "UntilLog",
    "UntilPort",
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


Condition = UntilExit | UntilEnded | UntilChange | UntilPort | UntilLog | UntilIdle

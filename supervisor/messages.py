"""What is sent to a session's mailbox: imperative for requests, past tense for facts.

Every fact about a child names its generation; a session drops those of an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.keeper.client import Held, KeeperClient
from supervisor.records import Receipt

__all__ = [
    "Adopt",
    "BackoffElapsed",
    "BecameReady",
    "Begin",
    "ChildExited",
    "Control",
    "DrainEnded",
    "EndInput",
    "GraceExpired",
    "KeeperLost",
    "KillExpired",
    "OutputEnded",
    "Patch",
    "PortsSeen",
    "Retire",
    "SpawnRefusedByKeeper",
    "Spawned",
    "TimeExpired",
]


@dataclass(frozen=True, slots=True)
class Begin:
    """Commit the new session as `starting` and spawn its child."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take over what a former daemon, or a crashed actor, left.

    `held` is the child that `keeper` holds, None when it holds none, or when the session itself
    still holds it; `receipts` are the accepted ones of this session.
    """

    held: Held | None
    keeper: KeeperClient | None = None
    receipts: tuple[Receipt, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """Carry out a control request; answered when its receipt is stored as accepted."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class EndInput:
    """Give the child end of file after all accepted input."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Change `name`, `labels` or `on_full`; a key that is missing stays as it is."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Retire:
    """Take no further request: the record is about to go. Refused with Conflict while alive."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The keeper holds the child."""

    generation: int
    held: Held
    keeper: KeeperClient


@dataclass(frozen=True, slots=True)
class SpawnRefusedByKeeper:
    """The child was never executed."""

    generation: int
    errno: int
    stage: str
    message: str


@dataclass(frozen=True, slots=True)
class ChildExited:
    """The leader ended; `status` as os.waitpid gives it, None when nobody can know."""

    generation: int
    status: int | None


@dataclass(frozen=True, slots=True)
class OutputEnded:
    """Every output of the child is at its end, and all of it is in the log."""

    generation: int


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """After the leader's exit output ended, fell silent, or went on for too long."""

    generation: int


@dataclass(frozen=True, slots=True)
class GraceExpired:
    """The time to end by itself is over."""

    generation: int


@dataclass(frozen=True, slots=True)
class KillExpired:
    """The whole tree was killed, and after some seconds its leader has still not ended."""

    generation: int


@dataclass(frozen=True, slots=True)
class TimeExpired:
    """A timeout is over: `run`, `idle` or `disconnect`."""

    generation: int
    which: str


@dataclass(frozen=True, slots=True)
class BackoffElapsed:
    """It is time for the child that follows this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The condition of the spec's `ready` is met; answered when that is stored."""

    generation: int
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeeperLost:
    """The keeper's connection ended; its children go on."""

    generation: int


@dataclass(frozen=True, slots=True)
class PortsSeen:
    """Where the tree listens: (port, address) -> the pid of a process that has it open."""

    generation: int
    places: Mapping[tuple[int, str], int]

"""What the pump tells its owner, in the order in which it happened for each session.

`key` is the session's ID. Offsets are absolute; a `time_ns` is wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supervisor.output.segments import Stream

StallReason = Literal["reader", "disk", "node_full"]


@dataclass(frozen=True, slots=True)
class Advanced:
    """Bytes below `next` can be read now, those below `oldest` no longer."""

    key: str
    next: int
    oldest: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The ring dropped ``from_ <= x < to``; only with `on_full: drop`."""

    key: str
    from_: int
    to: int


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Nobody can write to that output any more, and all of it is in the log."""

    key: str
    stream: Stream


@dataclass(frozen=True, slots=True)
class AllEnded:
    """Every output of the session has ended. Said at once for a session without outputs."""

    key: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """The pump reads no more from this session; the child waits once its pipe is full.

    `why`: `reader` (a lossless reader is a whole capacity behind), `disk` (full, or it refuses),
    `node_full` (all logs together reached `node_bytes`).
    """

    key: str
    why: StallReason


@dataclass(frozen=True, slots=True)
class Resumed:
    """Bytes moved again after `Stalled`."""

    key: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """Input below `offset` is in the child's pipe or terminal."""

    key: str
    offset: int


@dataclass(frozen=True, slots=True)
class InputBroken:
    """The child closed its end; input from `offset` on can never be delivered."""

    key: str
    offset: int


@dataclass(frozen=True, slots=True)
class InputEnded:
    """All accepted input was delivered and the pump's descriptor of stdin is closed."""

    key: str


@dataclass(frozen=True, slots=True)
class Discarding:
    """From here on output is thrown away: no further byte is added to the log."""

    key: str


@dataclass(frozen=True, slots=True)
class TapRemoved:
    """All descriptors of the session are closed; no further event bears its key."""

    key: str


@dataclass(frozen=True, slots=True)
class NodeFilling:
    """All logs together hold `used_bytes` of `node_bytes`: finished logs should go now."""

    used_bytes: int
    node_bytes: int


@dataclass(frozen=True, slots=True)
class PumpFailed:
    """The pump thread ended on a bug. Nobody reads the children's pipes: restart the daemon."""

    reason: str


PumpEvent = (
    Advanced
    | Dropped
    | StreamEnded
    | AllEnded
    | Stalled
    | Resumed
    | Delivered
    | InputBroken
    | InputEnded
    | Discarding
    | TapRemoved
    | NodeFilling
    | PumpFailed
)

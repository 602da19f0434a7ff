"""What crosses the attach socket: the text messages, and the binary frames around the bytes.

Binary, both ways: `kind u8 | offset u64 big endian | payload`; kind 1 is stdout, and all output of
a terminal or of combined pipes, 2 stderr, 0 the client's input. Text: JSON objects with `type`. A
type that this client does not know comes from a newer server and is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from holdfast.errors import ProtocolBroken
from holdfast.status import returncode_of
from holdfast.wire import Answer, SessionView

__all__ = [
    "INPUT_BYTES",
    "Attached",
    "Ended",
    "Frame",
    "InputAccepted",
    "InputDropped",
    "Live",
    "Missed",
    "Output",
    "OutputEnded",
    "Refused",
    "Resized",
    "Restarted",
    "RoleChanged",
    "Stream",
    "input_frame",
    "parse",
    "text",
]

Stream = Literal["stdout", "stderr"]
Role = Literal["writer", "observer"]

HEAD = struct.Struct(">BQ")
KINDS: Mapping[int, Stream] = {1: "stdout", 2: "stderr"}
INPUT = 0
INPUT_BYTES = 64 * 1024  # payload of one input frame: as much as a pipe takes at once


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of one stream; `offset` is that of the first."""

    stream: Stream
    offset: int
    data: bytes


class Attached(Answer, frozen=True, kw_only=True, tag="attached"):
    """First message. `oldest` to `next` is what the log holds; input goes on at `input_next`."""

    session: SessionView
    oldest: int
    next: int
    input_next: int
    role: Role


class Live(Answer, frozen=True, kw_only=True, tag="live"):
    """Everything before `offset` was replay."""

    offset: int


class Missed(Answer, frozen=True, kw_only=True, tag="gap"):
    """Output from `from_` (inclusive) up to `to` (exclusive) will not come."""

    from_: int = msgspec.field(name="from")
    to: int
    reason: str = "dropped"


class InputAccepted(Answer, frozen=True, kw_only=True, tag="input"):
    """Input below `next` is safe; input may be sent up to `limit`."""

    next: int
    limit: int


class InputDropped(Answer, frozen=True, kw_only=True, tag="input_dropped"):
    """Accepted input that the child of this generation never read."""

    from_: int = msgspec.field(name="from")
    to: int


class Resized(Answer, frozen=True, kw_only=True, tag="resized"):
    """The terminal has this size now."""

    rows: int
    cols: int


class RoleChanged(Answer, frozen=True, kw_only=True, tag="role_changed"):
    """This attachment has another role now."""

    role: Role
    by: Any = None


class OutputEnded(Answer, frozen=True, kw_only=True, tag="eof"):
    """This generation's output ends at `offset`; `complete` is false when some was discarded."""

    offset: int
    complete: bool


class Ended(Answer, frozen=True, kw_only=True, tag="exit"):
    """The generation's outcome; with `final` none follows."""

    outcome: str
    exit_code: int | None
    signal: str | None
    final: bool

    @property
    def returncode(self) -> int | None:
        """The status, -n for signal n; None when nobody knows."""
        return returncode_of(self.exit_code, self.signal)


class Restarted(Answer, frozen=True, kw_only=True, tag="restarted"):
    """The next generation runs; its output begins at `offset`."""

    generation: int
    offset: int


class Refused(Answer, frozen=True, kw_only=True, tag="error"):
    """The server refused something that this client sent."""

    code: str
    message: str
    details: dict[str, Any] = msgspec.field(default_factory=dict)


Frame = (
    Output
    | Attached
    | Live
    | Missed
    | InputAccepted
    | InputDropped
    | Resized
    | RoleChanged
    | OutputEnded
    | Ended
    | Restarted
    | Refused
)

TEXTS: Mapping[str, type[Any]] = {
    "attached": Attached,
    "live": Live,
    "gap": Missed,
    "input": InputAccepted,
    "input_dropped": InputDropped,
    "resized": Resized,
    "role_changed": RoleChanged,
    "eof": OutputEnded,
    "exit": Ended,
    "restarted": Restarted,
    "error": Refused,
}


class _Typed(msgspec.Struct):
    type: str


def parse(message: str | bytes) -> Frame | None:
    """Return what a message of the server says, None for a type that is not known here.

    Raises `ProtocolBroken` for what is no message at all.
    """
    if isinstance(message, bytes):
        return _parse_output(message)
    try:
        found = TEXTS.get(msgspec.json.decode(message, type=_Typed).type)
        return None if found is None else _as_frame(found, message)
    except msgspec.MsgspecError as error:
        raise ProtocolBroken(f"a message of the server is not understood: {error}") from error


def _as_frame(kind: type[Any], message: str) -> Frame:
    frame: Frame = msgspec.json.decode(message, type=kind)
    return frame


def _parse_output(message: bytes) -> Output:
    if len(message) < HEAD.size:
        raise ProtocolBroken(f"a frame of {len(message)} bytes has no head")
    kind, offset = HEAD.unpack_from(message)
    if kind not in KINDS:
        raise ProtocolBroken(f"a frame of unknown kind {kind}")
    return Output(KINDS[kind], offset, message[HEAD.size :])


def input_frame(offset: int, payload: bytes) -> bytes:
    """Return the frame that carries input."""
    return HEAD.pack(INPUT, offset) + payload


def text(type_: str, **fields: Any) -> str:
    """Return a text message of the client."""
    return msgspec.json.encode({"type": type_, **fields}).decode()

"""What crosses the attach socket (docs/protocol.md, "Attach"), as the server sees it.

Binary, both ways: `kind u8 | offset u64 big endian | payload`. Kind 0 is input; 1 is stdout, and
all output of a terminal or of combined pipes; 2 is stderr. Text: JSON objects with `type`; from a
client an unknown type or field is refused, so that a typo never passes.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from holdfast import wire
from supervisor.output.reader import Span

__all__ = [
    "BAD_CONTENT",
    "BAD_KIND",
    "HEAD",
    "INPUT_KIND",
    "NORMAL",
    "OVER_LIMIT",
    "REFUSED",
    "REPLACED",
    "TOO_SLOW",
    "WRITER_HELD",
    "Ack",
    "Detach",
    "Frames",
    "FromClient",
    "InputEnd",
    "Kill",
    "Resize",
    "Signal",
    "Stop",
    "decode_text",
    "text",
]

HEAD: Final = struct.Struct(">BQ")
INPUT_KIND: Final = 0

# Close codes; 1000 to 1012 are those of RFC 6455, section 7.4.1, and the IANA registry.
NORMAL: Final = 1000
BAD_KIND: Final = 1003
BAD_CONTENT: Final = 1007
REFUSED: Final = 1008
REPLACED: Final = 4001
TOO_SLOW: Final = 4408
WRITER_HELD: Final = 4409
OVER_LIMIT: Final = 4413

_SHARED_FROM_BYTES = 4096  # below, copying costs less than looking up
_SHARED_FRAMES = 16


class _FromClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class _Control(_FromClient, frozen=True, kw_only=True):
    """What leaves a receipt. `command_id` makes it idempotent, `generation` aims it."""

    command_id: wire.Id | None = None
    generation: Annotated[int, Meta(ge=1)] | None = None
    reason: Annotated[str, Meta(max_length=1024)] | None = None


class Resize(_Control, frozen=True, kw_only=True, tag="resize"):
    """Set the terminal's size in cells."""

    rows: wire.Cells
    cols: wire.Cells


class Signal(_Control, frozen=True, kw_only=True, tag="signal"):
    """Send one signal."""

    signal: str | int = "SIGTERM"
    target: Literal["leader", "group", "tree"] = "leader"


class Stop(_Control, frozen=True, kw_only=True, tag="stop"):
    """Ask the tree to end, and kill it after `grace` seconds."""

    signal: str | int | None = None
    grace: Annotated[float, Meta(ge=0, le=86400)] | None = None


class Kill(_Control, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL the whole tree."""


class InputEnd(_FromClient, frozen=True, kw_only=True, tag="input_end"):
    """End of file after all input that was accepted."""


class Ack(_FromClient, frozen=True, kw_only=True, tag="ack"):
    """The client has consumed all output below `offset`."""

    offset: Annotated[int, Meta(ge=0)]


class Detach(_FromClient, frozen=True, kw_only=True, tag="detach"):
    """Close the connection in good order; the session goes on."""


FromClient = Resize | Signal | Stop | Kill | InputEnd | Ack | Detach

_decoder = msgspec.json.Decoder(FromClient)


def decode_text(message: str) -> FromClient:
    """Return a client's text message.

    Raises msgspec.ValidationError for JSON of another shape, DecodeError for what is not JSON.
    """
    decoded: FromClient = _decoder.decode(message)
    return decoded


def text(type_: str, **fields: Any) -> str:
    """Return a text message of the server; a trailing underscore of a name is dropped."""
    named = {name.rstrip("_"): value for name, value in fields.items()}
    return msgspec.json.encode({"type": type_, **named}).decode()


class Frames:
    """Frames of output, made once for all clients that are at the same place.

    The reader's cache gives them the same bytes object for the same piece of output; it is kept
    here beside its frame, so that its identity stays its own.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, int], tuple[bytes, bytes]] = OrderedDict()

    def frame(self, span: Span) -> bytes:
        """Return the frame that carries `span`."""
        data = span.data
        if len(data) < _SHARED_FROM_BYTES:
            return HEAD.pack(span.stream, span.offset) + data
        key = (id(data), span.offset)
        known = self._made.get(key)
        if known is not None:
            return known[1]
        frame = HEAD.pack(span.stream, span.offset) + data
        self._made[key] = (data, frame)
        if len(self._made) > _SHARED_FRAMES:
            self._made.popitem(last=False)
        return frame

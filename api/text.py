"""Bytes of output as the text of a JSON answer.

Rules
- Text is UTF-8; invalid bytes become U+FFFD. A character is never split between two answers: its
  first bytes wait for the rest.
- What is too long is cut at line starts; where one line is longer than the room, at a character.
- Of a stream that was cut, 40 % of the room went to its first bytes and 60 % to its last.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from supervisor.output.reader import Span
from supervisor.stream_bytes import StreamBytes

__all__ = ["Decoder", "HeadTail", "decode", "incomplete_bytes", "whole_characters_end"]

_HEAD_SHARE = 0.4
_LONGEST_CHARACTER_BYTES = 4
_UTF8 = codecs.getincrementaldecoder("utf-8")


def decode(data: bytes | bytearray) -> str:
    """Return UTF-8 text, with U+FFFD for what is none."""
    return data.decode("utf-8", "replace")


def incomplete_bytes(data: bytes | bytearray) -> int:
    """Return how many bytes at the end begin a character whose rest is missing, 0 to 3."""
    for count in range(1, min(_LONGEST_CHARACTER_BYTES, len(data) + 1)):
        byte = data[-count]
        if _continues(byte):  # the beginning of the character lies before
            continue
        tail = _UTF8("replace")
        tail.decode(bytes(data[-count:]))
        return len(tail.getstate()[0])
    return 0


def _continues(byte: int) -> bool:
    """Whether a byte is 10xxxxxx: inside a character, not its beginning (RFC 3629)."""
    return byte >> 6 == 0b10  # noqa: PLR2004  (the two bits)


def whole_characters_end(spans: Sequence[Span]) -> int:
    """Return the offset at which to cut, so that no stream's last character is split.

    Two streams share the offsets: the cut lies before the earlier of two unfinished characters.
    """
    end = spans[-1].offset + len(spans[-1].data)
    cut = end
    last: dict[int, StreamBytes] = {}
    for span in spans:
        kept = last.setdefault(span.stream, StreamBytes())
        kept.append(span.offset, span.data)
        kept.drop(max(0, len(kept) - _LONGEST_CHARACTER_BYTES))
    for kept in last.values():
        missing = incomplete_bytes(kept.data)
        if missing:
            cut = min(cut, kept.offset_at(len(kept) - missing))
    return cut


class Decoder:
    """Text of one stream, piece by piece; `offset` is where the unfinished character began."""

    __slots__ = ("_decoder", "_offset")

    def __init__(self) -> None:
        self._decoder = _UTF8("replace")
        self._offset = 0

    def feed(self, offset: int, data: bytes) -> tuple[int, str]:
        """Return the offset of the first character that is complete now, and the text."""
        waiting = self._decoder.getstate()[0]
        start = self._offset if waiting else offset
        text = self._decoder.decode(data)
        left = len(self._decoder.getstate()[0])
        if left > len(data):
            self._offset = start
        elif left:
            self._offset = offset + len(data) - left
        return start, text

    def finish(self) -> tuple[int, str]:
        """Return the replacement of a character that never came to its end, or empty text."""
        return self._offset, self._decoder.decode(b"", final=True)


class HeadTail:
    """One stream as far as an answer can hold it: all of it, or its head and its tail.

    Memory is bounded by `max_bytes` and one chunk, however long the stream becomes.
    """

    __slots__ = ("_cut", "_end", "_head", "_room", "_start", "_tail", "_tail_room")

    def __init__(self, max_bytes: int) -> None:
        self._room = int(max_bytes * _HEAD_SHARE)
        self._tail_room = max_bytes - self._room
        self._head = StreamBytes()
        self._tail = StreamBytes()
        self._cut = False
        self._start = 0
        self._end = 0

    def append(self, offset: int, chunk: bytes) -> None:
        """Add the bytes that begin at `offset` of the log."""
        self._end = offset + len(chunk)
        room = self._room - len(self._head)
        if room > 0:
            self._head.append(offset, chunk[:room])
            if len(chunk) <= room:
                return
            offset, chunk = offset + room, chunk[room:]
        self._tail.append(offset, chunk)
        over = len(self._tail) - self._tail_room
        if over > 0:
            self._tail.drop(over)
            self._cut = True

    def skip(self, from_: int, to: int) -> None:
        """The log no longer holds these offsets: they are left out, whatever was in them."""
        if not self._cut and not len(self._tail):
            self._room = len(self._head)  # what comes later is no longer part of the head
        if not len(self._head) and not self._cut:
            self._start = from_
        self._tail = StreamBytes()
        self._cut = True
        self._end = to

    def result(self) -> tuple[bytes, tuple[int, int] | None]:
        """Return the bytes to show and the log offsets `(from, to)` left out between, or None.

        The range begins at the first byte that was left out and ends before the first one that
        was kept again; bytes of the other stream may lie in it.
        """
        head, tail = self._head, self._tail
        if not self._cut:
            return bytes(head.data + tail.data), None
        kept = _last_line_end(head.data)
        start = _first_line_start(tail.data)
        from_ = head.offset_at(kept) if len(head) else self._start
        to = tail.offset_at(start) if len(tail) else self._end
        return bytes(head.data[:kept] + tail.data[start:]), (from_, to)


def _last_line_end(data: bytearray) -> int:
    """Where to end: behind the last line, unless that would give up half of the room."""
    end = data.rfind(b"\n", len(data) // 2) + 1
    return end or len(data) - incomplete_bytes(data)


def _first_line_start(data: bytearray) -> int:
    """Where to begin: at the first line start in the first half, else at a character."""
    start = data.find(b"\n", 0, len(data) // 2) + 1
    if start:
        return start
    while start < min(len(data), _LONGEST_CHARACTER_BYTES - 1) and _continues(data[start]):
        start += 1
    return start

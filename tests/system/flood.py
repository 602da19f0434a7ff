"""Programs that print numbered lines, and the check that none is lost, repeated or misplaced.

Every line is `S`, a number of 13 digits, a newline; S is `o` on stdout, `e` on stderr. So a
position within a stream is known from any line, and the sum of the positions of the two streams
must be the offset in the log: a byte lost, repeated or given to the wrong stream breaks it, even
where the ring has dropped what came before.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

from supervisor.output.reader import LogReader, OffsetGone

LINE_BYTES = 15
WINDOW_BYTES = 1 << 20
_LETTERS = {1: b"o", 2: b"e"}


def flood(streams: str, lines_at_once: int, pause_s: float) -> None:
    """Print for ever. `streams` is `o`, or `oe` to change the stream with every write."""
    numbers = dict.fromkeys(streams, 0)
    while True:
        for letter in streams:
            first = numbers[letter]
            block = b"".join(
                b"%s%013d\n" % (letter.encode(), number)
                for number in range(first, first + lines_at_once)
            )
            numbers[letter] = first + lines_at_once
            left = memoryview(block)
            while left:
                left = left[os.write(1 if letter == "o" else 2, left) :]
        if pause_s:
            select.select([], [], [], pause_s)


class FloodCheck:
    """Reads one session's log as it grows and checks every byte that is still there."""

    def __init__(self, folder: Path, *, one_stream: bool) -> None:
        self._folder = folder
        self._one_stream = one_stream
        self._offset = 0
        self._positions: dict[int, int] | None = {1: 0, 2: 0}
        self.checked_bytes = 0

    def check(self) -> None:
        """Check what was added since the last call. Raises AssertionError."""
        reader = LogReader(self._folder)
        try:
            end = reader.next
            while self._offset < end:
                self._check_some(reader, min(WINDOW_BYTES, end - self._offset))
        finally:
            reader.close()

    def _check_some(self, reader: LogReader, count: int) -> None:
        try:
            spans = reader.spans(max(self._offset, reader.oldest), count)
        except OffsetGone as gone:
            reader.oldest = gone.oldest
            return
        for span in spans:
            if span.offset != self._offset:
                self._positions = None
            self._offset = span.offset
            self._check_span(span.stream, span.data)

    def _check_span(self, stream: int, data: bytes) -> None:
        letter = 1 if self._one_stream else stream
        if self._positions is None:
            self._find(letter, data)
        if self._positions is not None:
            position = self._positions[letter]
            expected = _text(_LETTERS[letter], position, len(data))
            assert data == expected, _difference(self._folder, self._offset, data, expected)
            self._positions[letter] = position + len(data)
            self.checked_bytes += len(data)
        self._offset += len(data)

    def _find(self, letter: int, data: bytes) -> None:
        """Behind a gap: this stream's position from its line, the other's from the offset."""
        newline = data.find(b"\n")
        line = data[newline + 1 : newline + LINE_BYTES]
        if newline < 0 or len(line) < LINE_BYTES - 1:
            return
        position = int(line[1:]) * LINE_BYTES - newline - 1
        other = self._offset - position
        assert other >= 0, f"{self._folder}: offset {self._offset} is below position {position}"
        assert other == 0 or not self._one_stream, f"{self._folder}: {other} bytes too many"
        self._positions = {letter: position, 3 - letter: other}


def _text(letter: bytes, position: int, count: int) -> bytes:
    """The bytes of a stream from a position on."""
    first = position // LINE_BYTES
    last = (position + count) // LINE_BYTES + 1
    lines = b"".join(b"%s%013d\n" % (letter, number) for number in range(first, last))
    begin = position - first * LINE_BYTES
    return lines[begin : begin + count]


def _difference(folder: Path, offset: int, data: bytes, expected: bytes) -> str:
    place = next(
        (at for at, pair in enumerate(zip(data, expected, strict=False)) if pair[0] != pair[1]), 0
    )
    seen, wanted = data[place : place + 40], expected[place : place + 40]
    return f"{folder}: at offset {offset + place} stands {seen!r}, not {wanted!r}"


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))

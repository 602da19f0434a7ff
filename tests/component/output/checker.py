"""An independent reading of a log's folder: every byte, by stream, against what was written.

Shares no code with the package, so that a mistake there cannot hide itself. What a stream consists
of is known for every position: numbered lines, stdout in digits, stderr in letters, so a byte that
is lost, repeated or on the wrong stream is seen at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

STDOUT, STDERR = 1, 2
_LINES = 100_000
_NUMBERED = b"".join(b"%06d\n" % number for number in range(_LINES))
_LETTERED = _NUMBERED.translate(bytes.maketrans(b"0123456789\n", b"abcdefghij\v"))
PATTERN = {STDOUT: _NUMBERED, STDERR: _LETTERED}
PERIOD = len(_NUMBERED)  # far above what a kill could lose or repeat at once


class Corrupt(AssertionError):
    """The folder does not hold what was written."""


def expected(stream: int, position: int, count: int) -> bytes:
    """`count` bytes of `stream` from its byte number `position` on."""
    pattern, found = PATTERN[stream], b""
    while len(found) < count:
        at = (position + len(found)) % PERIOD
        found += pattern[at : at + count - len(found)]
    return found


class Checker:
    """Verifies a log incrementally; `offset` is how far it is right."""

    def __init__(self) -> None:
        self.offset = 0
        self.positions = {STDOUT: 0, STDERR: 0}

    def check(self, folder: Path) -> None:
        """Verify all bytes from `offset` on, and the shape of all that lies in `folder`."""
        end = 0
        for base, data, records in _chain(folder):
            end = base + len(data)
            stops = [*(offset for offset, _ in records[1:]), end]
            for (start, stream), stop in zip(records, stops, strict=False):
                self._range(stream, max(start, self.offset), data[: stop - base], base)
        if end < self.offset:
            raise Corrupt(f"{self.offset - end} bytes went missing at the end")

    def _range(self, stream: int, start: int, data: bytes, base: int) -> None:
        found = data[start - base :] if start - base < len(data) else b""
        position = self.positions.get(stream)
        if position is None:
            raise Corrupt(f"no stream {stream}")
        if found != expected(stream, position, len(found)):
            raise Corrupt(f"wrong bytes of stream {stream} at {start} (its byte {position})")
        self.positions[stream] = position + len(found)
        self.offset = max(self.offset, start + len(found)) if found else self.offset


def _chain(folder: Path) -> Iterator[tuple[int, bytes, list[tuple[int, int]]]]:
    names = sorted(path.name for path in folder.iterdir() if len(path.name) == 20)
    end = int(names[0]) if names else 0
    for name in names:
        if int(name) != end:
            raise Corrupt(f"segment {name} begins elsewhere than at {end}")
        data = (folder / name).read_bytes()
        index = folder / f"{name}.i"
        raw = index.read_bytes() if index.exists() else b""
        yield end, data, _records(raw, end, len(data))
        end += len(data)


def _records(raw: bytes, base: int, size: int) -> list[tuple[int, int]]:
    if len(raw) % 32:
        raise Corrupt("torn index record")
    records = [(offset, stream) for offset, _, stream, _ in struct.iter_unpack("=QQQQ", raw)]
    offsets = [offset for offset, _ in records]
    if offsets != sorted(set(offsets)):
        raise Corrupt("index offsets do not ascend")
    if size and (not offsets or offsets[0] != base):
        raise Corrupt("bytes before the first record")
    if offsets and offsets[-1] > base + size:
        raise Corrupt("a record beyond the data")
    return records

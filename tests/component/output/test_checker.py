"""The hammer's checker sees a lost, a repeated and a misattributed byte."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.component.output.checker import STDERR, STDOUT, Checker, Corrupt, expected


def lay(folder: Path, ranges: list[tuple[int, bytes]]) -> Path:
    """One segment from (stream, bytes) ranges; answers its path."""
    folder.mkdir(exist_ok=True)
    data, index = b"", b""
    for stream, piece in ranges:
        index += struct.pack("=QQQQ", len(data), 1, stream, 0)
        data += piece
    segment = folder / f"{0:020d}"
    segment.write_bytes(data)
    segment.with_name(segment.name + ".i").write_bytes(index)
    return segment


RIGHT = [
    (STDOUT, expected(STDOUT, 0, 500)),
    (STDERR, expected(STDERR, 0, 300)),
    (STDOUT, expected(STDOUT, 500, 200)),
]


def test_the_truth_passes_at_once_and_in_steps(tmp_path: Path) -> None:
    checker = Checker()
    lay(tmp_path, RIGHT[:1])
    checker.check(tmp_path)
    lay(tmp_path, RIGHT)
    checker.check(tmp_path)
    assert checker.offset == 1000
    assert checker.positions == {STDOUT: 700, STDERR: 300}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param((STDOUT, expected(STDOUT, 501, 200)), id="a lost byte"),
        pytest.param((STDOUT, expected(STDOUT, 499, 200)), id="a repeated byte"),
        pytest.param((STDERR, expected(STDOUT, 500, 200)), id="bytes on the wrong stream"),
        pytest.param((3, expected(STDOUT, 500, 200)), id="a stream that is none"),
    ],
)
def test_a_wrong_byte_is_seen(wrong: tuple[int, bytes], tmp_path: Path) -> None:
    lay(tmp_path, [*RIGHT[:2], wrong])
    with pytest.raises(Corrupt):
        Checker().check(tmp_path)


def test_a_single_byte_given_to_the_other_stream_is_seen(tmp_path: Path) -> None:
    stolen = RIGHT[0][1][:-1]
    lay(tmp_path, [(STDOUT, stolen), (STDERR, RIGHT[0][1][-1:] + RIGHT[1][1]), RIGHT[2]])
    with pytest.raises(Corrupt):
        Checker().check(tmp_path)


def test_bytes_that_vanish_after_they_were_checked_are_seen(tmp_path: Path) -> None:
    segment = lay(tmp_path, RIGHT)
    checker = Checker()
    checker.check(tmp_path)
    os.truncate(segment, 999)
    with pytest.raises(Corrupt):
        checker.check(tmp_path)

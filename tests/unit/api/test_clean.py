from __future__ import annotations

import pytest

from api.clean import cleaned, unfinished_escape_bytes, without_ansi


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        (b"\x1b[1;31mred\x1b[0m", b"red"),
        (b"\x1b[?25l\x1b[2Kx\x1b[38:2::1:2:3my", b"xy"),
        (b"\x1b]0;a title\x07x\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", b"xlink"),
        (b"\x1bPq#1\x1b\\x\x1b_app\x1b\\", b"x"),
        (b"\x1b(B\x0fx\x1b7\x1b8\x1bc\x07", b"x"),
        (b"\x1b[31", b""),
        (b"\x1b]0;never ended\r\nnext", b"\r\nnext"),
        (b"\x1b[\x01x", b"\x01x"),
        (b"\x1b", b""),
        ("schön\u009b €".encode(), "schön\u009b €".encode()),
        (b"\xff\x9b31m", b"\xff\x9b31m"),
    ],
)
def test_escape_sequences_go_and_nothing_else(dirty: bytes, clean: bytes) -> None:
    assert without_ansi(dirty) == clean


@pytest.mark.parametrize(
    ("line", "ansi", "last"),
    [
        (b" 1%\r 50%\r100%\n", False, b"100%\n"),
        (b" 1%\r100%\r\n", False, b"100%\n"),
        (b" 1%\r100%\r", False, b"100%"),
        (b"plain\r\n", False, b"plain\n"),
        (b"plain\n", False, b"plain\n"),
        (b"\r\r\n", False, b"\n"),
        (b"50%\r\x1b[K\n", False, b"\x1b[K\n"),
        (b"50%\r\x1b[K\n", True, b"50%\n"),
        (b"50%\r\x1b[Kdone\n", True, b"done\n"),
        (b"", True, b""),
    ],
)
def test_a_progress_bar_becomes_its_last_state(line: bytes, ansi: bool, last: bytes) -> None:
    assert cleaned(line, ansi=ansi, cr=True) == last


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (b"x", 0),
        (b"x\x1b", 1),
        (b"x\x1b[3", 3),
        (b"x\x1b[31m", 0),
        (b"\x1b]0;t", 5),
        (b"\x1b]0;t\x1b", 6),
        (b"\x1b]0;t\x1b\\", 0),
        (b"\x1b]0;t\n", 0),
        (b"\x1b(", 2),
    ],
)
def test_the_beginning_of_a_sequence_is_known(data: bytes, missing: int) -> None:
    assert unfinished_escape_bytes(data) == missing

"""What the output switched on is switched off on leaving, and nothing else."""

from __future__ import annotations

import pytest

from holdfast.cli.modes import TerminalModes


def undone(*pieces: bytes) -> bytes:
    modes = TerminalModes()
    for piece in pieces:
        modes.feed(piece)
    return modes.undo()


@pytest.mark.parametrize(
    ("output", "undo"),
    [
        (b"plain \x1b[31mred\x1b[m", b""),
        (b"\x1b[?1049h", b"\x1b[?1049l\x1b[m"),
        (b"\x1b[?1049h\x1b[?1049l", b""),
        (b"\x1b[?25l", b"\x1b[?25h\x1b[m"),
        (b"\x1b[?25l\x1b[?25h", b""),
        (b"\x1b[?7l", b"\x1b[?7h\x1b[m"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l\x1b[m"),
        (b"\x1b[?2004h", b"\x1b[?2004l\x1b[m"),
        (b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>\x1b[m"),
        (b"\x1b=\x1b>", b""),
        (b"\x1b[>1u\x1b[>3u\x1b[<u", b"\x1b[<1u\x1b[m"),
        (b"\x1b[<u", b""),
        (b"\x1b[>1u\x1b[<9u", b""),
        (b"\x1b[>4;2m", b"\x1b[>4m\x1b[m"),
        (b"\x1b[>4;2m\x1b[>4;0m", b""),
        (b"\x1b[>4;2m\x1b[>4m", b""),
        (b"\x1b[2;10r", b"\x1b7\x1b[r\x1b8\x1b[m"),
        (b"\x1b[2;10r\x1b[r", b""),
        (b"\x1b[?1049h\x1b[?25l\x1bc", b""),
        (b"\x1b[?1049h\x1b[?1002h", b"\x1b[?1002l\x1b[?1049l\x1b[m"),
        (b"\x1b[?12h\x1b[?9999h", b""),
    ],
)
def test_leaving_undoes_what_was_left_on(output: bytes, undo: bytes) -> None:
    assert undone(output) == undo
    assert undone(*(bytes([byte]) for byte in output)) == undo

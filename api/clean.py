"""What a line of output looks like when the words for a terminal are taken out of it.

Rules
- A sequence never goes on behind a newline or a carriage return: one that never ended, or that
  never was one, takes at most the rest of its line along.
- `ansi` removes escape sequences of ECMA-48, bell, shift in and shift out. Bytes 0x80 to 0x9f stay:
  in UTF-8 they are parts of characters, not controls.
- `cr` keeps of what was printed over itself (progress bars) the last state that shows anything.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["cleaned", "last_state_at", "unfinished_escape_bytes", "without_ansi"]

_ANSI: Final = re.compile(
    rb"\x1b(?:"
    rb"\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, erase
    rb"|[\]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, links
    rb"|[ -/]+[0-~]?"  # nF: character sets
    rb"|[0-~]"  # Fp, Fe, Fs: save, restore, reset
    rb")?|[\x07\x0e\x0f]"
)
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\r\n]*\x1b?|[ -/]+)?\Z")
_LONGEST_SEQUENCE_BYTES: Final = 4096


def without_ansi(data: bytes) -> bytes:
    """Return whole lines without escape sequences."""
    return _ANSI.sub(b"", data)


def cleaned(line: bytes, *, ansi: bool, cr: bool) -> bytes:
    """Return one line, with its newline if it has one."""
    if cr:
        body = line.removesuffix(b"\n")
        at = last_state_at(body, ansi=ansi)
        end = body.find(b"\r", at)
        line = body[at : len(body) if end < 0 else end] + line[len(body) :]
    return without_ansi(line) if ansi else line


def last_state_at(body: bytes, *, ansi: bool) -> int:
    """Return where the last state begins that shows something; 0 when none does."""
    end = len(body)
    while end >= 0:
        start = body.rfind(b"\r", 0, end) + 1
        state = body[start:end]
        if without_ansi(state) if ansi else state:
            return start
        end = start - 1
    return 0


def unfinished_escape_bytes(data: bytes) -> int:
    """Return how many bytes at the end begin a sequence whose rest is missing, at most 4096."""
    tail = data[-_LONGEST_SEQUENCE_BYTES:]
    last = tail.rfind(b"\x1b")
    before = tail.rfind(b"\x1b", 0, max(last, 0))  # the last one may begin the end of a title
    for at in (before, last):
        if at >= 0 and _UNFINISHED.match(tail, at):
            return len(tail) - at
    return 0

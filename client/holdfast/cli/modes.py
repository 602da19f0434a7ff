"""Knows which terminal modes a program has switched on, so that leaving can switch them off.

Rules
- Only what the output was seen to switch on is switched off: a reset that nobody needs can move
  the cursor or undo what the person's own shell has set.
- The alternate screen is left last of all private modes, and the colours are reset always.
"""

from __future__ import annotations

import re

__all__ = ["TerminalModes"]

PRIVATE = {
    b"1": b"\x1b[?1l",  # cursor keys send application codes
    b"5": b"\x1b[?5l",  # reversed screen
    b"6": b"\x1b[?6l",  # origin mode
    b"9": b"\x1b[?9l",  # mouse, the oldest way
    b"66": b"\x1b[?66l",  # application keypad
    b"1000": b"\x1b[?1000l",  # mouse
    b"1001": b"\x1b[?1001l",
    b"1002": b"\x1b[?1002l",
    b"1003": b"\x1b[?1003l",
    b"1004": b"\x1b[?1004l",  # focus is reported
    b"1005": b"\x1b[?1005l",
    b"1006": b"\x1b[?1006l",
    b"1015": b"\x1b[?1015l",
    b"1016": b"\x1b[?1016l",
    b"2004": b"\x1b[?2004l",  # bracketed paste
    b"2026": b"\x1b[?2026l",  # the screen stands still until the update ends
    b"2031": b"\x1b[?2031l",  # changes of the colour scheme are reported
}
ALTERNATE = {b"47": b"\x1b[?47l", b"1047": b"\x1b[?1047l", b"1049": b"\x1b[?1049l"}
OFF_WHEN_ON = {b"7": b"\x1b[?7h", b"25": b"\x1b[?25h"}  # line wrap and cursor: on is the default
RESET_COLOURS = b"\x1b[m"

SEQUENCE = re.compile(
    rb"\x1b\[\?(?P<modes>[0-9;]+)(?P<switch>[hl])"
    rb"|\x1b\[(?P<kitty>[<>])(?P<flags>[0-9;]*)u"
    rb"|\x1b\[>4(?:;(?P<otherkeys>[0-9]*))?m"
    rb"|\x1b\[(?P<region>[0-9;]*)r"
    rb"|\x1b(?P<keypad>[=>])"
    rb"|\x1b(?P<reset>c)"
)
UNFINISHED = re.compile(rb"\x1b(?:\[[?<>]?[0-9;]{0,64})?\Z")


class TerminalModes:
    """Feed it all that goes to the terminal; `undo` is what to write on leaving."""

    def __init__(self) -> None:
        self._held = b""
        self._start_over()

    def _start_over(self) -> None:
        self._on: dict[bytes, bytes] = {}  # in the order in which they were switched on
        self._kitty_depth = 0

    def feed(self, piece: bytes) -> None:
        """Note what this piece of output switches; it may cut a sequence anywhere."""
        piece = self._held + piece
        for match in SEQUENCE.finditer(piece):
            self._note(match)
        unfinished = UNFINISHED.search(piece)
        self._held = unfinished.group() if unfinished else b""

    def undo(self) -> bytes:
        """What brings the terminal back; empty when the output left everything as it was."""
        alternate = [off for key, off in self._on.items() if key in ALTERNATE]
        others = [off for key, off in self._on.items() if key not in ALTERNATE]
        pops = [b"\x1b[<%du" % self._kitty_depth] if self._kitty_depth > 0 else []
        found = [*others, *pops, *alternate]
        return b"".join([*found, RESET_COLOURS]) if found else b""

    def _note(self, match: re.Match[bytes]) -> None:
        if match["modes"]:
            for mode in match["modes"].split(b";"):
                self._switch(mode, on=match["switch"] == b"h")
        elif match["kitty"]:
            self._count_kitty(match["kitty"], match["flags"])
        elif match["keypad"]:
            self._set(b"keypad", b"\x1b>", on=match["keypad"] == b"=")
        elif match["reset"]:
            self._start_over()
        elif match["region"] is not None:
            # Resetting the region moves the cursor home (DECSTBM), so it is saved around it.
            self._set(b"region", b"\x1b7\x1b[r\x1b8", on=bool(match["region"]))
        else:
            self._set(b"otherkeys", b"\x1b[>4m", on=(match["otherkeys"] or b"0") != b"0")

    def _switch(self, mode: bytes, *, on: bool) -> None:
        off = PRIVATE.get(mode) or ALTERNATE.get(mode)
        if off is not None:
            self._set(mode, off, on=on)
        elif mode in OFF_WHEN_ON:
            self._set(mode, OFF_WHEN_ON[mode], on=not on)

    def _count_kitty(self, direction: bytes, flags: bytes) -> None:
        if direction == b">":
            self._kitty_depth += 1
        else:
            self._kitty_depth = max(0, self._kitty_depth - int(flags.split(b";")[0] or 1))

    def _set(self, key: bytes, off: bytes, *, on: bool) -> None:
        if on:
            self._on[key] = off
        else:
            self._on.pop(key, None)

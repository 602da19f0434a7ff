"""Takes terminal queries out of a replay.

Rules
- A query in old output was answered long ago. Played again, the terminal would answer again, and
  the answer would be typed into the child as if a person had typed it (xterm's CVE-2003-0063 and
  many since). So: no query reaches the terminal before the replay's end.
- All else passes unchanged, whatever pieces it comes in. A sequence cut off at the end of a piece
  is held until the rest comes, or until `end`: what is live must reach the terminal whole.
- Setting the clipboard (OSC 52) is not replayed either: it happened when it was written.
"""

from __future__ import annotations

import re

__all__ = ["QueryFilter"]

# A control string longer than this is not held back while its end is missing.
HELD_BYTES = 64 * 1024

# Any ESC ends a control string, whether it is the ESC of its terminator or not (as in xterm).
SEQUENCE = re.compile(
    rb"\x1b\[(?P<csi>[<-?]?[0-9;:]*[ -/]*[@-~])"
    rb"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    rb"|\x1bP(?P<dcs>[^\x1b]*)\x1b\\"
    rb"|\x1b_(?P<apc>[^\x1b]*)\x1b\\"
    rb"|\x1b(?P<decid>Z)"
    rb"|(?P<enq>\x05)"
)
UNFINISHED = re.compile(rb"\x1b(?:\[[<-?]?[0-9;:]*[ -/]*|\][^\x07\x1b]*\x1b?|[P_][^\x1b]*\x1b?)?\Z")

CSI_QUERY = re.compile(
    rb"[?>=]?[0-9;]*c"  # DA1, DA2, DA3: what are you
    rb"|\??[0-9;]*n"  # DSR: status, cursor position, printer, keyboard
    rb"|>[0-9;]*q"  # XTVERSION
    rb"|\??[0-9;]*\$p"  # DECRQM: is this mode set
    rb"|\?[0-9;]*[uS]"  # kitty keyboard flags; XTSMGRAPHICS
    rb"|\?[0-9;]*m"  # XTQMODKEYS
    rb"|[01]?x"  # DECREQTPARM
    rb"|(?:11|1[3-9]|2[01])(?:;[0-9;]*)?t"  # reports of window size, position, title
    rb"|[0-9;]*\*y"  # DECRQCRA: checksum of an area
    rb"|[0-9;]*\$w"  # DECRQPSR: presentation state
    rb"|[0-9;]*\$u"  # DECRQTSR: terminal state
    rb"|[0-9;]*&u"  # DECRQUPSS
    rb"|[0-9;]*'\|"  # DECRQLP: locator position
    rb"|[0-9;]*&v"
)
DCS_QUERIES = (b"$q", b"+q")  # DECRQSS, XTGETTCAP
CLIPBOARD = b"52"


class QueryFilter:
    """Feed it the replay, piece by piece; `end` when the replay is over."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What of the replay the terminal may see now."""
        piece = self._held + piece
        unfinished = UNFINISHED.search(piece)
        cut = unfinished.start() if unfinished else len(piece)
        if len(piece) - cut > HELD_BYTES:
            cut = len(piece)
        self._held = piece[cut:]
        return SEQUENCE.sub(_keep_or_drop, piece[:cut])

    def end(self) -> bytes:
        """What was held back: the first part of a sequence that goes on live."""
        held, self._held = self._held, b""
        return held


def _keep_or_drop(match: re.Match[bytes]) -> bytes:
    return b"" if _is_query(match) else match.group()


def _is_query(match: re.Match[bytes]) -> bool:
    kind = match.lastgroup
    content = match.group(kind) if kind else b""
    if kind == "csi":
        return CSI_QUERY.fullmatch(content) is not None
    if kind == "osc":
        return _is_osc_query(content)
    if kind == "dcs":
        return content.startswith(DCS_QUERIES)
    if kind == "apc":
        return content.startswith(b"G")  # kitty graphics: the terminal says OK, or why not
    return True  # DECID and ENQ


def _is_osc_query(content: bytes) -> bool:
    fields = content.split(b";")
    asks = any(field == b"?" or field.endswith(b"=?") for field in fields[1:])
    return asks or fields[0] == CLIPBOARD

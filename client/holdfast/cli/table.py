"""Tables and short times for people to read.

Rules
- No control character of a name, a command or a label reaches the terminal: they are shown
  escaped, bidirectional overrides too, which would let a command read as another one.
- Columns are padded to their widest cell; the last one is cut at the terminal's width, if any.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime

__all__ = ["age", "amount", "cpu_time", "escaped", "render", "width"]

KIB = 1024
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def escaped(text: str) -> str:
    """The text with control, format and surrogate characters as backslash escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped_character, text))


def _escaped_character(character: str) -> str:
    if character in SHORT_ESCAPES:
        return SHORT_ESCAPES[character]
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004  (Latin-1)
    return character


def width(text: str) -> int:
    """The number of terminal cells that escaped text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def render(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    columns: int | None = None,
    dim: Sequence[bool] = (),
) -> list[str]:
    """The table's lines; cells are escaped here.

    `columns` cuts lines to the terminal's width, None leaves them whole. `dim[i]` shows row i
    faint (SGR 2); leave it empty where no colour is wanted.
    """
    table = [[escaped(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    lines = [_line(row, widths, columns) for row in table]
    faint = [False, *dim] if dim else [False] * len(lines)
    return [f"\x1b[2m{line}\x1b[m" if low else line for line, low in zip(lines, faint, strict=True)]


def _line(row: Sequence[str], widths: Sequence[int], columns: int | None) -> str:
    padded = [cell + " " * (room - width(cell)) for cell, room in zip(row, widths, strict=True)]
    line = "  ".join(padded).rstrip()
    return line if columns is None else _cut(line, columns)


def _cut(line: str, columns: int) -> str:
    if width(line) <= columns:
        return line
    kept, taken = [], 1  # one cell for the sign that something is missing
    for character in line:
        taken += _cells(character)
        if taken > columns:
            break
        kept.append(character)
    return "".join(kept) + "…"


def age(since: str | None, now: datetime) -> str:
    """How long ago, in one unit: `12s`, `5m`, `3h`, `9d`; `-` for never. `since`: RFC 3339."""
    if since is None:
        return "-"
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    if seconds < MINUTE_S:
        return f"{seconds}s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S}m"
    if seconds < 2 * DAY_S:
        return f"{seconds // HOUR_S}h"
    return f"{seconds // DAY_S}d"


def amount(bytes_: int | None) -> str:
    """Bytes in three digits or less: `512B`, `1.5K`, `23M`, `4.0G`; `-` for unknown."""
    if bytes_ is None:
        return "-"
    if bytes_ < KIB:
        return f"{bytes_}B"
    value, unit = float(bytes_), ""
    for unit in "KMGTP":  # noqa: B007  (the unit that fits is used below)
        value /= KIB
        if value < 999.5:  # noqa: PLR2004  (it would be shown as 1000)
            break
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"  # noqa: PLR2004  (as 10.0)


def cpu_time(seconds: float | None) -> str:
    """CPU time: `0.42s`, `12s`, `3m20s`, `5h07m`; `-` for unknown."""
    if seconds is None:
        return "-"
    if seconds < MINUTE_S:
        return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.0f}s"  # noqa: PLR2004  (digits)
    whole = int(seconds)
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}m{whole % MINUTE_S:02d}s"
    return f"{whole // HOUR_S}h{whole % HOUR_S // MINUTE_S:02d}m"

"""Names and numbers of signals, as users write them: `TERM`, `SIGTERM`, 15, `RTMIN+2`."""

from __future__ import annotations

import re
import signal

__all__ = ["signal_name", "signal_number"]

_LAST = 64
_REALTIME = re.compile(r"SIGRTMIN\+([0-9]{1,2})")


def signal_number(value: str | int) -> int:
    """Return the number of a signal given by name (with or without SIG) or number, 1 to 64.

    Raises ValueError with a sentence for the user.
    """
    if isinstance(value, int):
        number = value
    elif value.isascii() and value.isdigit():
        number = int(value)
    else:
        number = _by_name(value)
    if not 1 <= number <= _LAST:
        message = f"unknown signal {value!r}: give a name such as SIGTERM or a number 1 to 64"
        raise ValueError(message)
    return number


def signal_name(value: str | int) -> str:
    """Return the name of a signal, `SIGTERM` for 15. Raises ValueError for unknown ones."""
    number = signal_number(value)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else str(number)


def _by_name(value: str) -> int:
    name = value.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    offset = _REALTIME.fullmatch(name)
    if offset:
        number = signal.SIGRTMIN + int(offset[1])
        return number if number <= signal.SIGRTMAX else 0
    try:
        return int(signal.Signals[name])
    except KeyError:
        return 0

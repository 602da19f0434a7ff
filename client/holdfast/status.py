"""One exit status in the two spellings that programs expect."""

from __future__ import annotations

import signal as signals

__all__ = ["returncode_of"]


def returncode_of(exit_code: int | None, signal: str | None) -> int | None:
    """Return the status as `subprocess` shows it: -n for signal n, None when nobody knows."""
    if signal is None or exit_code is None:
        return exit_code
    try:
        return -signals.Signals[signal].value
    except KeyError:  # a signal that only the server's system has a name for
        return 128 - exit_code

"""prctl(2), which the standard library reaches only through ctypes.

ctypes is imported at the first call, and some small Pythons are built without it: then every call
raises OSError(ENOSYS), and who asked decides what weaker thing is still honest.
"""

from __future__ import annotations

import errno
import os

PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def prctl(option: int, value: int) -> None:
    """Set one option of this process. Raises OSError."""
    try:
        import ctypes  # noqa: PLC0415 - half a megabyte, and not everywhere there
    except ImportError as error:
        raise OSError(errno.ENOSYS, "prctl needs the ctypes module") from error
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Errors of the output log.

::

    OutputError
    ├── OffsetGone            the ring no longer holds that offset
    ├── OffsetAhead           nothing was written there yet
    └── StateFolderRefused    this directory cannot carry the promises of the log
"""

from __future__ import annotations


class OutputError(Exception):
    """Root of the errors that this package raises."""


class OffsetGone(OutputError):
    """Bytes at `offset` were dropped (or lost with power); the next readable is `oldest`.

    `oldest` and `next` are absolute offsets; reading from `oldest` on works.
    """

    def __init__(self, offset: int, oldest: int, next_: int) -> None:
        super().__init__(f"output at offset {offset} is gone; the oldest left is {oldest}")
        self.offset = offset
        self.oldest = oldest
        self.next = next_


class OffsetAhead(OutputError):
    """`offset` lies above `next`, the offset of the next byte to come."""

    def __init__(self, offset: int, oldest: int, next_: int) -> None:
        super().__init__(f"offset {offset} is ahead of the output, which ends at {next_}")
        self.offset = offset
        self.oldest = oldest
        self.next = next_


class StateFolderRefused(OutputError):
    """The state directory `folder` is not usable: `reason`, and `remedy`, a command to type."""

    def __init__(self, folder: str, reason: str, remedy: str) -> None:
        super().__init__(f"cannot keep sessions in {folder}: {reason}.\nTry: {remedy}")
        self.folder = folder
        self.reason = reason
        self.remedy = remedy

"""What a command that has ended left behind."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import CommandFailed
from holdfast.options import Command
from holdfast.status import returncode_of

__all__ = ["Result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of a command, with all of its output.

    `exit_code` is the kernel's status as shells show it, 128+n for signal n; None only when nobody
    knows (`outcome` is `lost` then). `outcome` is one of `exited`, `signaled`, `killed`,
    `timed_out`, `spawn_failed`, `lost`. With a tty or combined stderr all output is in `stdout`.
    """

    args: Command
    id: str
    exit_code: int | None
    outcome: str
    signal: str | None
    stdout: bytes
    stderr: bytes

    @property
    def returncode(self) -> int | None:
        """The status as `subprocess` shows it: -n for signal n."""
        return returncode_of(self.exit_code, self.signal)

    def check_returncode(self) -> None:
        """Raise `CommandFailed` unless the command exited with 0."""
        if self.exit_code != 0 or self.outcome != "exited":
            raise CommandFailed(self)

    def summary(self) -> str:
        """One line that says how the command ended."""
        shown = self.args if isinstance(self.args, str) else " ".join(self.args or ["shell"])
        status = self.signal or ("unknown" if self.exit_code is None else self.exit_code)
        return f"{shown!r} ended: {self.outcome}, status {status}"

"""The descriptors of one child: what it gets as 0, 1, 2, and what keeper and daemon hold.

Rules:
- Every descriptor is close-on-exec and above 2, so that a child gets exactly 0, 1, 2.
- O_NONBLOCK is set only on our ends; each end of a pipe is an open file description of its own, so
  the child's end stays blocking, as programs expect.
- A pty's slave stays open here until the leader was reaped: the master gives EIO once no slave is
  open, and that must not happen before the end.
"""

from __future__ import annotations

import os
import termios
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor.keeper.errors import SpawnFailed

if TYPE_CHECKING:
    from supervisor.keeper.wire import Message


@dataclass(slots=True)
class Streams:
    """`child`: its 0, 1, 2. `kept`: our ends by wire name. `slave`: of the pty, if any."""

    child: list[int] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    slave: int | None = None
    passed: list[int] = field(default_factory=list)
    """The child's ends; ours no longer once it has them."""

    def close_passed(self) -> None:
        """Close the child's ends here, else their pipes never end."""
        while self.passed:
            os.close(self.passed.pop())

    def close(self) -> None:
        """Close everything."""
        self.close_passed()
        for name in list(self.kept):
            os.close(self.kept.pop(name))
        if self.slave is not None:
            os.close(self.slave)
            self.slave = None


def open_streams(request: Message, null: int) -> Streams:
    """Open what `request` asks for; `null` is a descriptor of /dev/null above 2.

    Raises SpawnFailed with stage `pty` or `fds`; nothing is left open then.
    """
    streams = Streams()
    try:
        if request["tty"]:
            _open_pty(streams, request["rows"], request["cols"])
        else:
            _open_pipes(streams, request, null)
        if request["tty"] or request["stdin"] == "pipe":
            streams.kept["journal"] = new_journal(request["input_offset"])
    except OSError as error:
        streams.close()
        raise SpawnFailed(error.errno or 0, "pty" if request["tty"] else "fds") from error
    return streams


def new_journal(offset: int) -> int:
    """An input journal: its size is what was accepted, its position what was delivered.

    Both begin at `offset`; what lies before is a hole. The position belongs to the open file
    description, which keeper and daemon share.
    """
    journal = os.memfd_create("holdfast-input", os.MFD_CLOEXEC)
    os.ftruncate(journal, offset)
    os.lseek(journal, offset, os.SEEK_SET)
    return journal


def _open_pty(streams: Streams, rows: int, cols: int) -> None:
    master, slave = os.openpty()
    streams.kept["master"], streams.slave = master, slave
    os.set_blocking(master, False)
    termios.tcsetwinsize(slave, (rows, cols))
    streams.child = [slave, slave, slave]
    for name in ("relay", "input"):
        ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        streams.kept[f"{name}_read"], streams.kept[f"{name}_write"] = ends


def _open_pipes(streams: Streams, request: Message, null: int) -> None:
    stdin = stdout = stderr = null
    if request["stdin"] == "pipe":
        stdin, streams.kept["stdin"] = os.pipe()
        streams.passed.append(stdin)
        os.set_blocking(streams.kept["stdin"], False)
    if request["stdout"] == "pipe":
        stdout = _output_pipe(streams, "stdout")
    if request["stderr"] == "pipe":
        stderr = _output_pipe(streams, "stderr")
    elif request["stderr"] == "combined":
        stderr = stdout
    streams.child = [stdin, stdout, stderr]


def _output_pipe(streams: Streams, name: str) -> int:
    """Make a pipe, keep its read end as `name`; the child's write end."""
    streams.kept[name], write_end = os.pipe()
    streams.passed.append(write_end)
    os.set_blocking(streams.kept[name], False)
    return write_end

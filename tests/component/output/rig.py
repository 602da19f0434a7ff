"""A running pump whose events a test waits for by name."""

from __future__ import annotations

import os
import queue
import tty
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from supervisor.output import Advanced, LogReader, OutputLog, Pump, PumpEvent, Space, Tap

E = TypeVar("E")
PATIENCE_S = 20.0
CAPACITY = 512 * 1024


class Rig:
    """One pump over `folder`, and the test's ends of the pipes, closed at the end."""

    def __init__(self, folder: Path, *, reserve_bytes: int = 0, node_bytes: int = 1 << 60) -> None:
        self.folder = folder
        self.space = Space(folder, reserve_bytes=reserve_bytes, node_bytes=node_bytes)
        self.pump = Pump(self._notify, space=self.space)
        self.seen: list[PumpEvent] = []
        self._queue: queue.SimpleQueue[PumpEvent] = queue.SimpleQueue()
        self._fds: list[int] = []
        self.pump.start()

    def _notify(self, events: Sequence[PumpEvent]) -> None:
        for event in events:
            self._queue.put(event)

    def close(self) -> None:
        self.pump.stop()
        for fd in self._fds:
            os.close(fd)

    def wait(self, kind: type[E]) -> E:
        """The next event of that kind; all on the way to it are in `seen`."""
        while True:
            event = self._queue.get(timeout=PATIENCE_S)
            self.seen.append(event)
            if isinstance(event, kind):
                return event

    def wait_next(self, offset: int) -> None:
        """Until bytes below `offset` are announced."""
        while self.wait(Advanced).next < offset:
            pass

    def mine(self, fd: int) -> int:
        """Close `fd` with the rig."""
        self._fds.append(fd)
        return fd

    def drop(self, fd: int) -> None:
        """Close one of the test's ends now."""
        self._fds.remove(fd)
        os.close(fd)

    def pipe(self) -> tuple[int, int]:
        """(the pump's end, the child's writing end)."""
        reading, writing = os.pipe()
        return reading, self.mine(writing)

    def stdin(self) -> tuple[int, int]:
        """(the pump's end, the child's reading end)."""
        reading, writing = os.pipe()
        return writing, self.mine(reading)

    def terminal(self) -> tuple[int, int]:
        """(master, slave), raw."""
        master, slave = os.openpty()
        tty.setraw(slave)
        return master, self.mine(slave)

    def journal(self) -> int:
        """A memfd; one description, two descriptors: the pump gets the answer's copy."""
        return self.mine(os.memfd_create("journal"))

    def log(self, key: str = "s", capacity: int = CAPACITY) -> OutputLog:
        return OutputLog(self.folder / key, capacity)

    def read(self, key: str = "s") -> bytes:
        """All that the log holds."""
        reader = LogReader(self.folder / key)
        try:
            return b"".join(s.data for s in reader.spans(reader.oldest, 1 << 30))
        finally:
            reader.close()

    def add(self, tap: Tap) -> Tap:
        self.pump.add(tap)
        return tap

"""The pump's process is killed while it delivers: all accepted input arrives once, in order."""

from __future__ import annotations

import os
import random
import select
import time
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.output import OutputLog, Pump, Space, Tap
from tests.component.output.checker import STDOUT, expected
from tests.component.output.processes import Forked

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "200")) // 4
PIECE = 40_000


class Child:
    """The reading end of the session's stdin, and what it has read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.read = 0
        os.set_blocking(fd, False)

    def read_until(self, pumping: Forked, deadline: float, target: int) -> None:
        """Read and verify until `target` bytes were read or the time has come."""
        while self.read < target and (left := deadline - time.monotonic()) > 0:
            ready = select.select([self.fd, pumping.pidfd], [], [], left)[0]
            assert pumping.pidfd not in ready
            if self.fd in ready:
                self.take()

    def take(self) -> None:
        found = os.read(self.fd, 5_000)
        assert found == expected(STDOUT, self.read, len(found))
        self.read += len(found)


def piped() -> tuple[list[int], int, dict[str, object]]:
    reading, writing = os.pipe()
    return [reading, writing], reading, {"stdin": writing}


def terminal() -> tuple[list[int], int, dict[str, object]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    relay, input_relay = os.pipe(), os.pipe()
    taps = {"master": master, "relay": relay, "input_relay": input_relay}
    return [master, slave, *relay, *input_relay], slave, taps


def pump_body(folder: Path, tap: dict[str, object]) -> Callable[[], None]:
    def body() -> None:
        space = Space(folder, reserve_bytes=0, node_bytes=1 << 60)
        pump = Pump(lambda _events: None, space=space)
        pump.add(Tap("s", OutputLog(folder / "log", 1 << 20), **tap))  # type: ignore[arg-type]
        pump.run()

    return body


@pytest.mark.parametrize("make", [piped, terminal])
def test_input_arrives_once_whenever_the_pump_is_killed(
    make: Callable[[], tuple[list[int], int, dict[str, object]]], tmp_path: Path
) -> None:
    fds, reading, tap = make()
    journal = os.memfd_create("journal")
    child, chance, accepted = Child(reading), random.Random(7), 0
    try:
        for round_ in range(KILLS + 1):
            last = round_ == KILLS
            piece = expected(STDOUT, accepted, PIECE)
            accepted += os.pwrite(journal, piece, accepted)
            pumping = Forked(pump_body(tmp_path, {**tap, "journal": journal}))
            wait = 30.0 if last else chance.uniform(0.0005, 0.01)
            try:
                child.read_until(pumping, time.monotonic() + wait, accepted)
            finally:
                pumping.kill()
        assert child.read == accepted
    finally:
        for fd in [*fds, journal]:
            os.close(fd)

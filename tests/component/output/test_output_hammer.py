"""The pump's process is killed at random instants: no byte is lost, repeated or misattributed."""

from __future__ import annotations

import os
import random
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from supervisor.output import LogReader, OutputLog, Pump, Space, Tap
from tests.component.output.checker import STDERR, STDOUT, Checker, expected
from tests.component.output.processes import Forked, writer

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "200"))
SOAK_KILLS = 10 * KILLS


@dataclass
class Session:
    """What the keeper would hold: every descriptor of one session, whoever pumps."""

    fds: list[int] = field(default_factory=list)
    writes_to: dict[int, int] = field(default_factory=dict)
    tap: Callable[[OutputLog], Tap] = lambda log: Tap("s", log)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def piped(streams: tuple[int, ...]) -> Session:
    session = Session()
    ends = {stream: os.pipe() for stream in streams}
    for reading, writing in ends.values():
        session.fds += [reading, writing]
    session.writes_to = {stream: writing for stream, (_, writing) in ends.items()}
    stdout = ends[STDOUT][0]
    stderr = ends[STDERR][0] if STDERR in ends else None
    session.tap = lambda log: Tap("s", log, stdout=stdout, stderr=stderr, on_full="block")
    return session


def terminal() -> Session:
    master, slave = os.openpty()
    tty.setraw(slave)
    relay = os.pipe()
    session = Session([master, slave, *relay], {STDOUT: slave})
    session.tap = lambda log: Tap("s", log, master=master, relay=relay, on_full="block")
    return session


CASES: dict[str, tuple[Callable[[], Session], int, int]] = {
    "combined": (lambda: piped((STDOUT,)), 65_536, 8 << 20),
    "separate": (lambda: piped((STDOUT, STDERR)), 65_536, 512 << 10),
    "tiny writes": (lambda: piped((STDOUT, STDERR)), 40, 128 << 10),
    "terminal": (terminal, 3_000, 512 << 10),
}


def pump_body(session: Session, folder: Path, capacity: int, taken: int) -> Callable[[], None]:
    """The daemon's part: recover, adopt, pump for ever. Bytes above `taken` may not be dropped."""

    def body() -> None:
        space = Space(folder.parent, reserve_bytes=0, node_bytes=1 << 60)
        pump = Pump(lambda _events: None, space=space)
        pump.add(session.tap(OutputLog(folder, capacity)))
        pump.taken("s", taken)
        pump.run()

    return body


def hammer(case: str, folder: Path, kills: int, seed: int) -> Checker:
    make, max_bytes, capacity = CASES[case]
    session, chance, checker = make(), random.Random(seed), Checker()
    child = Forked(writer(session.writes_to, max_bytes, seed))
    try:
        for _ in range(kills):
            pumping = Forked(pump_body(session, folder, capacity, checker.offset))
            try:
                assert pumping.lives_for(chance.uniform(0.001, 0.02))
            finally:
                pumping.kill()
            if folder.exists():
                checker.check(folder)
    finally:
        child.kill()
        session.close()
    return checker


@pytest.mark.parametrize("case", CASES)
def test_no_kill_loses_repeats_or_misattributes_a_byte(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    checker = hammer(case, folder, max(1, KILLS // len(CASES)), seed=1)
    assert checker.positions[STDOUT] > 0
    reader = LogReader(folder)
    spans = reader.spans(reader.oldest, 1 << 30)
    reader.close()
    ends = dict(checker.positions)
    assert reader.next == checker.offset
    for span in reversed(spans):  # what clients read is what the checker saw
        ends[span.stream] -= len(span.data)
        assert span.data == expected(span.stream, ends[span.stream], len(span.data))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES)
def test_thousands_of_kills_lose_nothing(case: str, tmp_path: Path) -> None:
    hammer(case, tmp_path / "log", SOAK_KILLS // len(CASES), seed=random.randrange(1 << 30))

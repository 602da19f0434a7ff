"""The check of the SIGKILL tests must see each kind of damage, or it proves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.output.log import OutputLog
from tests.system.flood import LINE_BYTES, FloodCheck

LINES = {
    letter: b"".join(b"%s%013d\n" % (letter.encode(), number) for number in range(200))
    for letter in "oe"
}


def write(folder: Path, parts: list[tuple[int, bytes]]) -> FloodCheck:
    """Put bytes into a log the way the pump does; return its check."""
    log = OutputLog(folder, 1 << 20)
    source, target = os.pipe()
    try:
        for time_ns, (stream, data) in enumerate(parts):
            os.write(target, data)
            assert log.take(source, stream, time_ns) == len(data)
    finally:
        os.close(source)
        os.close(target)
        log.close()
    return FloodCheck(folder, one_stream=False)


def test_whole_streams_pass(tmp_path: Path) -> None:
    out, err = LINES["o"], LINES["e"]
    check = write(tmp_path / "log", [(1, out[:70]), (2, err[:33]), (1, out[70:]), (2, err[33:])])
    check.check()
    assert check.checked_bytes == 2 * 200 * LINE_BYTES


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(1, LINES["o"][:70]), (1, LINES["o"][71:])], id="a byte lost"),
        pytest.param([(1, LINES["o"][:70]), (1, LINES["o"][69:])], id="a byte repeated"),
        pytest.param([(1, LINES["o"][:60]), (2, LINES["o"][60:75])], id="on the wrong stream"),
        pytest.param([(1, LINES["o"][15:30]), (1, LINES["o"][:15])], id="out of order"),
    ],
)
def test_damage_is_seen(tmp_path: Path, parts: list[tuple[int, bytes]]) -> None:
    with pytest.raises(AssertionError):
        write(tmp_path / "log", parts).check()

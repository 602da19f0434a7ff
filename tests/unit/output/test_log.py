"""The writer: rule W, roll-over, what is dropped and what is kept, a disk that refuses."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.output import log as log_module
from supervisor.output.log import OutputLog
from supervisor.output.segments import index_name, scan, segment_name
from tests.unit.output.logs import ERR, MS, OUT, Written, log_in, records_of

KIB = 1024
SMALL = 128 * KIB


def test_no_file_before_the_first_byte(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    OutputLog(folder, SMALL).close()
    assert not folder.exists()


def test_a_capacity_below_two_segments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="below"):
        OutputLog(tmp_path, SMALL - 1)


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with log_in(folder) as log:
        log.put(OUT, b"secret")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_record_is_written_on_change_and_after_50_ms(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"a", 0)
        log.put(OUT, b"b", 49 * MS)
        log.put(ERR, b"c", 49 * MS)
        log.put(OUT, b"d", 49 * MS)
        log.put(OUT, b"e", 99 * MS)
    assert records_of(tmp_path) == [(0, OUT), (2, ERR), (3, OUT), (4, OUT)]


def test_a_wall_clock_that_goes_back_gets_a_record(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"a", 100 * MS)
        log.put(OUT, b"b", 99 * MS)
    assert records_of(tmp_path) == [(0, OUT), (1, OUT)]


def test_a_spurious_wake_up_leaves_one_slot_whoever_comes_next(tmp_path: Path) -> None:
    """EAGAIN on T, T again without a record, then S: T's bytes must not become S's."""
    with log_in(tmp_path) as log:
        log.put(OUT, b"out")
        log.put_nothing(ERR)
        log.put(ERR, b"err")
        log.put(OUT, b"out")
    assert records_of(tmp_path) == [(0, OUT), (3, ERR), (6, OUT)]


def test_spurious_wake_ups_do_not_grow_the_index(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"out")
        for _ in range(20):
            log.put_nothing(ERR)
            log.put_nothing(OUT)
        log.put(ERR, b"err")
    assert records_of(tmp_path) == [(0, OUT), (3, ERR)]


def test_a_new_process_goes_on_at_the_next_byte(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"before")
    with log_in(tmp_path) as log:
        assert (log.oldest, log.next) == (0, 6)
        log.put(OUT, b"after", 2 * MS)
    assert (tmp_path / segment_name(0)).read_bytes() == b"beforeafter"
    assert records_of(tmp_path) == [(0, OUT)]


def test_an_emptied_log_goes_on_at_its_offset(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = Written(folder, SMALL, start=1000)
    assert (log.oldest, log.next) == (1000, 1000)
    log.put(OUT, b"more")
    log.close()
    assert [(s.base, s.size) for s in scan(str(folder))] == [(1000, 4)]
    assert OutputLog(folder, SMALL, start=1000).next == 1004


def test_a_closed_log_opens_again(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"one")
        log.close()
        log.put(ERR, b"two")
    assert records_of(tmp_path) == [(0, OUT), (3, ERR)]


def test_each_segment_stands_alone(tmp_path: Path) -> None:
    with log_in(tmp_path, 512 * KIB) as log:
        for _ in range(3):
            log.put(OUT, b"x" * 40 * KIB)
    assert [(s.base, s.size) for s in scan(str(tmp_path))] == [
        (0, 64 * KIB),
        (64 * KIB, 56 * KIB),
    ]
    assert records_of(tmp_path, 64 * KIB) == [(64 * KIB, OUT)]


def test_data_and_index_never_exceed_the_capacity(tmp_path: Path) -> None:
    with log_in(tmp_path, 512 * KIB) as log:
        for number in range(40):
            log.put(1 + number % 2, b"x" * 33_333)
            held = scan(str(tmp_path))
            on_disk = sum(segment.bytes_on_disk for segment in held)
            assert on_disk == log.bytes_on_disk <= 512 * KIB
            assert held[0].base == log.oldest
            assert held[-1].end == log.next == (number + 1) * 33_333
        assert log.next - log.oldest > 512 * KIB * 6 // 8


def test_tiny_interleaved_writes_stay_bounded(tmp_path: Path) -> None:
    """One byte each costs 32 of index: the roll-over counts records too."""
    with log_in(tmp_path, SMALL) as log:
        reading, writing = os.pipe()
        for number in range(3000):
            os.write(writing, b"x")
            log.take(reading, 1 + number % 2, MS)
        os.close(reading)
        os.close(writing)
        assert max(len(records_of(tmp_path, s.base)) for s in scan(str(tmp_path))) == 256
        assert log.bytes_on_disk <= SMALL
        assert log.next == 3000


def test_bytes_at_or_above_keep_from_are_never_dropped(tmp_path: Path) -> None:
    with log_in(tmp_path, SMALL) as log:
        log.keep_from = 10
        for _ in range(10):
            log.put(OUT, b"x" * 60 * KIB)
        assert log.oldest == 0
        log.keep_from = 64 * KIB
        log.trim()
        assert log.oldest == 64 * KIB


def failing(error: int, times: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, that raises the first `times` times."""
    left = [times]

    def instead(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(error, os.strerror(error))
        return call(*args, **kwargs)

    return instead


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_nothing_is_spliced_when_the_record_cannot_be_written(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with log_in(tmp_path) as log:
        log.put(OUT, b"out")
        os.write(writing, b"err")
        monkeypatch.setattr(log_module, "_pwrite", failing(error, 1, os.pwrite))
        with pytest.raises(OSError, match=os.strerror(error)):
            log.take(reading, ERR, MS)
        assert log.next == 3
        assert log.take(reading, ERR, MS) == 3
    os.close(reading)
    os.close(writing)
    assert records_of(tmp_path) == [(0, OUT), (3, ERR)]


def test_a_refused_splice_leaves_the_bytes_in_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"out")
        monkeypatch.setattr(log_module, "_splice", failing(errno.ENOSPC, 1, os.splice))
        with pytest.raises(OSError, match="space"):
            log.put(ERR, b"lost with its pipe")
        log.put(OUT, b"next")
    assert records_of(tmp_path) == [(0, OUT), (3, OUT)]
    assert (tmp_path / segment_name(0)).read_bytes() == b"outnext"


@pytest.mark.parametrize("fails", [segment_name(64 * KIB), index_name(64 * KIB)])
def test_a_refused_roll_over_is_tried_again(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.open, [1]

    def open_(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith(fails) and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, *args, **kwargs)

    with log_in(tmp_path, SMALL) as log:
        log.put(OUT, b"x" * 64 * KIB)
        monkeypatch.setattr(os, "open", open_)
        with pytest.raises(OSError, match="space"):
            log.put(OUT, b"y")
        log.put(OUT, b"z")
        assert log.next == 64 * KIB + 1
    assert records_of(tmp_path, 64 * KIB) == [(64 * KIB, OUT)]

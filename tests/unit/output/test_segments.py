"""Names, sizes, and each step of the recovery on a folder crafted for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.output.segments import (
    RECORD,
    Hole,
    index_name,
    recover,
    scan,
    segment_bytes,
    segment_name,
)
from tests.unit.output.logs import ERR, OUT, lay, log_in, names_in, records_of

KIB = 1024


def test_a_segment_is_named_by_its_first_offset_in_twenty_digits() -> None:
    assert segment_name(4096) == "00000000000000004096"
    assert index_name(4096) == "00000000000000004096.i"
    assert len(segment_name(2**63)) == 20


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (128 * KIB, 64 * KIB),
        (512 * KIB, 64 * KIB),
        (16 << 20, 2 << 20),
        (32 << 20, 4 << 20),
        (1 << 30, 4 << 20),
    ],
)
def test_a_segment_is_an_eighth_within_bounds(capacity: int, expected: int) -> None:
    assert segment_bytes(capacity) == expected


def test_step_2_no_folder_is_an_empty_log(tmp_path: Path) -> None:
    found = recover(str(tmp_path / "none"))
    assert (found.base, found.size, found.records, found.last_offset) == (0, 0, 0, -1)
    assert not (tmp_path / "none").exists()


def test_step_2_an_index_without_its_segment_goes(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT)])
    (tmp_path / index_name(100)).write_bytes(b"")
    (tmp_path / "notes.i").write_bytes(b"")
    recover(str(tmp_path))
    assert names_in(tmp_path) == [segment_name(0), index_name(0), "notes.i"]


def test_step_3_a_hole_between_neighbours_is_announced(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT)])
    lay(tmp_path, 15, 5, [(15, 1, OUT)])
    found = recover(str(tmp_path))
    assert found.holes == (Hole(10, 15),)
    assert [segment.base for segment in found.older] == [0]


def test_step_4_the_segment_is_made_before_its_index(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT)])
    (tmp_path / segment_name(10)).write_bytes(b"")  # killed between the two
    with log_in(tmp_path) as log:
        assert log.next == 10
        log.put(ERR, b"after")
    assert records_of(tmp_path, 10) == [(10, ERR)]


def test_step_5_an_empty_last_segment_is_used(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT)])
    lay(tmp_path, 10, 0)
    with log_in(tmp_path) as log:
        assert (log.oldest, log.next) == (0, 10)
        log.put(OUT, b"abc")
    assert [segment.base for segment in scan(str(tmp_path))] == [0, 10]


def test_step_6_a_torn_record_is_cut_off(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT)])
    with (tmp_path / index_name(0)).open("ab") as index:
        index.write(b"torn")
    assert recover(str(tmp_path)).records == 1
    assert (tmp_path / index_name(0)).stat().st_size == RECORD.size


def test_step_7_records_beyond_the_data_are_cut_off(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT), (11, 2, ERR), (40, 3, OUT)])
    found = recover(str(tmp_path))
    assert (found.records, found.last_offset, found.last_stream) == (1, 0, OUT)
    assert records_of(tmp_path) == [(0, OUT)]


def test_step_8_without_a_record_the_stream_is_unknown(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10)
    found = recover(str(tmp_path))
    assert (found.records, found.last_offset, found.last_stream) == (0, -1, 0)
    with log_in(tmp_path) as log:
        log.put(OUT, b"known")
    assert records_of(tmp_path) == [(10, OUT)]


def test_step_8_the_last_record_is_taken_over(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT), (4, 9, ERR)])
    found = recover(str(tmp_path))
    last = (found.last_offset, found.last_time_ns, found.last_stream)
    assert (found.records, last) == (2, (4, 9, ERR))


def test_step_9_a_record_without_bytes_is_written_over(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT), (10, 9, ERR)])
    with log_in(tmp_path) as log:
        log.put(OUT, b"x", now_ns=10)
    assert records_of(tmp_path) == [(0, OUT), (10, OUT)]


def test_what_is_no_segment_is_left_alone(tmp_path: Path) -> None:
    lay(tmp_path, 0, 3, [(0, 1, OUT)])
    (tmp_path / "0001").write_bytes(b"not one")
    (tmp_path / ("\u0661" * 20)).write_bytes(b"nor this")
    assert len(scan(str(tmp_path))) == 1
    assert recover(str(tmp_path)).size == 3

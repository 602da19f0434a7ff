from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.usage import Usage, Used, counted, used_by


def test_the_first_look_is_what_was_seen() -> None:
    assert counted(None, Used(1.5, 100, 2), 7) == Usage(1.5, 100, 2, 7)


def test_cpu_time_of_processes_that_went_away_stays() -> None:
    usage = counted(None, Used(10.0, 100, 2), 1)
    usage = counted(usage, Used(4.0, 50, 1), 2)
    assert (usage.cpu_seconds, usage.memory_bytes, usage.processes) == (10.0, 50, 1)
    usage = counted(usage, Used(5.0, 50, 1), 3)
    assert usage.cpu_seconds == pytest.approx(11.0)


def test_a_look_that_comes_late_changes_nothing() -> None:
    usage = counted(None, Used(2.0, 100, 1), 5)
    assert counted(usage, Used(1.0, 1, 1), 4) is usage


def test_a_living_process_is_added_up() -> None:
    used = used_by([os.getpid()])
    assert used.processes == 1
    assert used.memory_bytes > 1 << 20
    assert used.cpu_s >= 0.0


def test_a_process_that_is_gone_does_not_count() -> None:
    assert used_by([1 << 30]) == Used(0.0, 0, 0)


def test_what_a_cgroup_has_counted_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (tmp_path / "memory.current").write_text("4096\n")
    assert used_by([1, 2, 3], str(tmp_path)) == Used(2.5, 4096, 3)


def test_without_the_memory_controller_members_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\n")
    used = used_by([os.getpid()], str(tmp_path))
    assert used.cpu_s == 2.5
    assert used.memory_bytes > 1 << 20

"""Room: the reserve of the disk, the node's cap, and who counts for how much."""

from __future__ import annotations

from pathlib import Path

from supervisor.output.space import Space

HUGE = 1 << 60


def test_an_empty_node_refuses_nothing(tmp_path: Path) -> None:
    assert Space(tmp_path, reserve_bytes=0, node_bytes=HUGE).refusal() is None


def test_less_than_the_reserve_refuses_for_the_disk(tmp_path: Path) -> None:
    assert Space(tmp_path, reserve_bytes=HUGE, node_bytes=HUGE).refusal() == "disk"


def test_a_vanished_folder_refuses_for_the_disk(tmp_path: Path) -> None:
    assert Space(tmp_path / "none", reserve_bytes=0, node_bytes=HUGE).refusal() == "disk"


def test_logs_over_the_cap_refuse_until_one_is_forgotten(tmp_path: Path) -> None:
    space = Space(tmp_path, reserve_bytes=0, node_bytes=4 << 20)
    space.hold("a", 3 << 20)
    assert space.refusal() is None
    space.hold("b", 2 << 20)
    assert space.filling
    assert space.refusal() == "node_full"
    space.forget("a")
    assert space.refusal() is None
    assert not space.filling


def test_a_log_counts_once_however_often_it_is_reported(tmp_path: Path) -> None:
    space = Space(tmp_path, reserve_bytes=0, node_bytes=HUGE)
    for disk_bytes in (10, 30, 20):
        space.hold("a", disk_bytes)
    assert space.used_bytes == 20
    space.forget("a")
    space.forget("a")
    assert space.used_bytes == 0

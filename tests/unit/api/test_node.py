"""The node promises what its containment and its keeper can keep, and no more."""

from __future__ import annotations

import pytest

from api.node import promises


@pytest.mark.parametrize(
    ("containment", "verified"),
    [("cgroup", True), ("shim", True), ("children", False), ("unknown", False)],
)
def test_a_kill_of_the_tree_is_verified_only_where_no_orphan_escapes(
    containment: str, *, verified: bool
) -> None:
    assert promises(containment, keeper=True)["tree_kill_verified"] is verified


def test_without_a_keeper_only_output_survives_the_daemon() -> None:
    kept = promises("unknown", keeper=False)
    assert [name for name, holds in kept.items() if holds] == ["output_survives_daemon"]

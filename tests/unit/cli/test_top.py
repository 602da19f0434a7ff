from __future__ import annotations

from typing import Any

import pytest

from holdfast.cli.commands.ls import ports_of
from holdfast.cli.commands.top import shown, sorted_rows
from holdfast.cli.live_screen import screen_lines


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"id-{name}", "name": name, "state": "running", "cpu_percent": 1.0,
        "memory_bytes": 1024, "processes": 1, "output_bytes_per_s": 0, "ports": [], "attached": 0,
        "command": ["cat"], "shell": None, **fields,
    }  # fmt: skip


ROWS = [
    row("a", cpu_percent=None, memory_bytes=None, processes=None),
    row("b", cpu_percent=3.0, output_bytes_per_s=10),
    row("c", memory_bytes=4096, processes=3, attached=2),
]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("cpu", "bca"),
        ("mem", "cba"),
        ("procs", "cba"),
        ("output", "bac"),
        ("attached", "cab"),
        ("name", "abc"),
    ],
)
def test_the_most_comes_first_and_names_by_the_alphabet(sort: str, order: str) -> None:
    assert "".join(each["name"] for each in sorted_rows(ROWS, sort)) == order


def test_the_sum_stands_above_the_table_and_unknown_is_a_dash() -> None:
    total, _, first, *_ = shown(ROWS, None)
    assert total == "3 sessions, CPU 4.0 %, memory 5.0K"
    assert first.split() == ["a", "id-a", "running", "-", "-", "-", "0B", "-", "0", "cat"]


def test_ports_are_sorted_once_each_and_many_are_cut() -> None:
    assert ports_of([]) == "-"
    assert ports_of([81, 80, 80]) == "80,81"
    assert ports_of(range(1, 9)) == "1,2,3,4,..."


def test_lines_are_drawn_over_the_ones_before() -> None:
    drawn = "".join(screen_lines(["one", "two"], 5))
    assert drawn == "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J"


def test_what_does_not_fit_is_counted() -> None:
    drawn = "".join(screen_lines([str(n) for n in range(10)], 4))
    assert drawn.replace("\x1b[K", "").split("\r\n") == ["\x1b[H0", "1", "2", "... 7 more\x1b[J"]

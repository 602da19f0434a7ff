"""Tables are safe for a terminal, whatever names and commands hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.cli.table import age, amount, cpu_time, escaped, render, width

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("\x1b]0;pwned\x07", "\\e]0;pwned\\x07"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\ud800", "\\ud800"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("é✓日本", "é✓日本"),
    ],
)
def test_control_characters_are_shown_not_obeyed(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_columns_line_up_by_cells_not_characters() -> None:
    assert width("日本") == 4
    assert width("e\u0301") == 1
    assert render(["A", "B"], [["日本", "x"], ["abc", "y"]]) == ["A     B", "日本  x", "abc   y"]


def test_lines_are_cut_at_the_terminals_width() -> None:
    assert render(["NAME"], [["abcdefgh"]], columns=5) == ["NAME", "abcd…"]
    assert render(["NAME"], [["日本日本"]], columns=5) == ["NAME", "日本…"]


def test_an_empty_table_is_its_header() -> None:
    assert render(["NAME", "ID"], []) == ["NAME  ID"]


def test_faint_rows_are_marked_and_nothing_else() -> None:
    assert render(["N"], [["a"], ["b"]], dim=[False, True]) == ["N", "a", "\x1b[2mb\x1b[m"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (-5, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (172800, "2d")],
)
def test_an_age_has_one_unit(seconds: int, shown: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == shown
    assert age((NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z"), NOW) == shown


def test_no_time_is_a_dash() -> None:
    assert age(None, NOW) == "-"


@pytest.mark.parametrize(
    ("bytes_", "shown"),
    [
        (None, "-"), (0, "0B"), (1023, "1023B"), (1024, "1.0K"), (10_189, "10K"),
        (1023 * 1024, "1.0M"), (23 << 20, "23M"), (5 << 30, "5.0G"),
    ],
)  # fmt: skip
def test_an_amount_of_bytes_is_short(bytes_: int | None, shown: str) -> None:
    assert amount(bytes_) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.4211, "0.42s"), (12.3, "12s"), (200, "3m20s"), (18_420, "5h07m")],
)
def test_cpu_time_is_short(seconds: float | None, shown: str) -> None:
    assert cpu_time(seconds) == shown

"""Interleaved rounds, medians of ratios, and the table that shows them.

Rules
- A floor and what stands on it run in the same rounds, so that whatever else loads the machine
  loads both; the order of the blocks is turned round from one round to the next.
- A ratio is the median over rounds of the quotient of two quantiles of one round. Absolute numbers
  are medians too, and only shown beside their floor.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "Block",
    "Bound",
    "Rounds",
    "Row",
    "at_least",
    "at_most",
    "interleave",
    "machine",
    "table",
]

Block = Callable[[], Sequence[float]]
"""Measures for a moment; returns its samples, at least one."""

_HEAD: Final = ("", "what", "unit", "floor", "ours", "ratio", "target", "")


@dataclass(frozen=True, slots=True)
class Bound:
    """A target: `sign` is `<=` or `>=`; it bounds the ratio, or with `absolute` ours itself."""

    sign: str
    limit: float
    absolute: bool = False

    def holds(self, value: float) -> bool:
        """Return whether `value` meets the target."""
        return value <= self.limit if self.sign == "<=" else value >= self.limit


def at_most(limit: float, *, absolute: bool = False) -> Bound:
    """Return the target that a ratio (or ours, when `absolute`) stays below `limit`."""
    return Bound("<=", limit, absolute)


def at_least(limit: float, *, absolute: bool = False) -> Bound:
    """Return the target that a ratio (or ours, when `absolute`) reaches `limit`."""
    return Bound(">=", limit, absolute)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `note` says why there is no figure, or what the floor is."""

    workload: str
    what: str
    unit: str = ""
    floor: float | None = None
    ours: float | None = None
    ratio: float | None = None
    bound: Bound | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is no target or nothing was measured."""
        bounded = self.ours if self.bound and self.bound.absolute else self.ratio
        if self.bound is None or bounded is None:
            return None
        return self.bound.holds(bounded)


class Rounds:
    """The samples of every block, round by round."""

    def __init__(self, samples: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.samples = samples

    def quantile(self, block: str, q: float = 0.5) -> float:
        """Return the median over rounds of each round's quantile."""
        return statistics.median(_quantile(each, q) for each in self.samples[block])

    def ratio(self, ours: str, floor: str, q: float = 0.5) -> float:
        """Return the median over rounds of ours divided by the floor of the same round."""
        pairs = zip(self.samples[ours], self.samples[floor], strict=True)
        return statistics.median(_quantile(mine, q) / _quantile(base, q) for mine, base in pairs)

    def row(
        self,
        workload: str,
        what: str,
        ours: str,
        floor: str,
        unit: str,
        *,
        bound: Bound | None = None,
        q: float = 0.5,
        note: str = "",
    ) -> Row:
        """Return the row that compares two blocks."""
        return Row(
            workload,
            what,
            unit,
            floor=self.quantile(floor, q),
            ours=self.quantile(ours, q),
            ratio=self.ratio(ours, floor, q),
            bound=bound,
            note=note or f"floor: {floor}",
        )


def interleave(rounds: int, blocks: Mapping[str, Block]) -> Rounds:
    """Run every block once per round, in turned order every other round."""
    samples: dict[str, list[Sequence[float]]] = {name: [] for name in blocks}
    order = list(blocks)
    for _ in range(rounds):
        for name in order:
            samples[name].append(blocks[name]())
        order.reverse()
    return Rounds(samples)


def machine() -> str:
    """Return one line about where this ran, without the host's name."""
    model = "unknown cpu"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load}"
    )


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    right = {3, 4, 5}
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    target = ""
    if row.bound is not None:
        suffix = f" {row.unit}" if row.bound.absolute else "x"
        target = f"{row.bound.sign} {row.bound.limit:g}{suffix}"
    verdict = {True: "met", False: "MISSED", None: row.note}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    return (
        row.workload,
        row.what,
        row.unit,
        _number(row.floor),
        _number(row.ours),
        ratio,
        target,
        verdict,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    digits = max(0, 2 - int(math.log10(abs(value)))) if abs(value) >= 0.01 else 4
    return f"{value:,.{digits}f}"


def _quantile(samples: Sequence[float], q: float) -> float:
    ordered = sorted(samples)
    if q == 0.5:
        return statistics.median(ordered)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

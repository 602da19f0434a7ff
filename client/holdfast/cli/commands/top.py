"""hold top: what the sessions use, live."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.arguments import json_option, label_option
from holdfast.cli.commands.ls import command_of, ports_of
from holdfast.cli.invocation import Invocation
from holdfast.cli.live_screen import drawn_again
from holdfast.cli.rates import Rates
from holdfast.cli.select import ALIVE
from holdfast.cli.table import amount, render

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection, Query

__all__ = ["SORTS", "shown", "sorted_rows", "top_command"]

HEADER = (
    "NAME", "ID", "STATE", "CPU%", "MEM", "PROCS", "OUT/S", "PORTS", "ATTACHED", "COMMAND",
)  # fmt: skip
SHORTEST_S = 0.2

Row = dict[str, Any]

SORTS: Mapping[str, Callable[[Row], Any]] = {
    "cpu": lambda row: -(row["cpu_percent"] or 0.0),
    "mem": lambda row: -(row["memory_bytes"] or 0),
    "procs": lambda row: -(row["processes"] or 0),
    "output": lambda row: -row["output_bytes_per_s"],
    "attached": lambda row: -row["attached"],
    "name": lambda row: row["name"] or row["id"],
}


@click.command("top")
@click.option("--sort", type=click.Choice(list(SORTS)), default="cpu", show_default=True,
              help="What comes first.")  # fmt: skip
@click.option("--interval", type=click.FloatRange(min=SHORTEST_S), default=2.0, show_default=True,
              metavar="S", help="Seconds between two looks.")  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many looks.")
@label_option("Only sessions with this label.")
@json_option
@click.pass_obj
def top_command(
    invocation: Invocation,
    sort: str,
    interval: float,
    count: int | None,
    labels: tuple[str, ...],
) -> int:
    """Show what live sessions use, each with all its processes, until ctrl-c.

    The first look shows means since the start, later ones what was used meanwhile. On a terminal it
    is drawn in place; --json prints one look a line.
    """
    connection, rates = invocation.connect(), Rates()

    def look() -> list[Row]:
        return sorted_rows(looked(connection, list(labels), rates), sort)

    if sys.stdout.isatty() and not invocation.as_json:
        return drawn_again(lambda columns: shown(look(), columns), interval, count)
    try:
        while True:
            _print(look(), as_json=invocation.as_json)
            count = None if count is None else count - 1
            if count == 0:
                return 0
            time.sleep(interval)
    except KeyboardInterrupt:
        return 0


def looked(connection: Connection, labels: list[str], rates: Rates) -> list[Row]:
    """The rows of this moment."""
    query: Query = {"state": ALIVE, "label": labels, "usage": True}
    return rates.rows(list(connection.sessions(query)), datetime.now(UTC))


def sorted_rows(rows: list[Row], sort: str) -> list[Row]:
    """The rows in the order of a key; equal ones by name."""
    return sorted(rows, key=lambda row: (SORTS[sort](row), row["name"] or "", row["id"]))


def shown(rows: list[Row], columns: int | None) -> list[str]:
    """The lines for people: the sum of all, then one line each."""
    cpu = sum(row["cpu_percent"] or 0.0 for row in rows)
    memory = sum(row["memory_bytes"] or 0 for row in rows)
    total = f"{len(rows)} sessions, CPU {cpu:.1f} %, memory {amount(memory)}"
    return [total, *render(HEADER, [_cells(row) for row in rows], columns=columns)]


def _cells(row: Row) -> list[str]:
    return [
        row["name"] or "-",
        row["id"],
        row["state"],
        "-" if row["cpu_percent"] is None else f"{row['cpu_percent']:.1f}",
        amount(row["memory_bytes"]),
        "-" if row["processes"] is None else str(row["processes"]),
        amount(row["output_bytes_per_s"]),
        ports_of(row["ports"]),
        str(row["attached"]),
        command_of(row["command"], row["shell"]),
    ]


def _print(rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        at = datetime.now(UTC).isoformat()
        click.echo(json.dumps({"at": at, "sessions": rows}))
    else:
        click.echo("\n".join(shown(rows, None)) + "\n")
    sys.stdout.flush()

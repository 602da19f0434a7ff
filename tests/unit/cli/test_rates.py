from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.cli.rates import Rates

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat()


def session(cpu_s: float, looked_s: float, output: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "id": "a", "name": None, "state": "running", "generation": 1, "command": ["x"],
        "shell": None, "attachments": [{}], "ports": [{"port": 80}], "created_at": at(0),
        "started_at": at(0), "output": {"next": output},
        "usage": {"cpu_seconds": cpu_s, "memory_bytes": 5, "processes": 2, "at": at(looked_s)},
        **fields,
    }  # fmt: skip


def rows(rates: Rates, one: dict[str, Any], seconds: float) -> dict[str, Any]:
    (row,) = rates.rows([one], T0 + timedelta(seconds=seconds))
    return row


def test_the_first_look_is_the_mean_since_the_start() -> None:
    row = rows(Rates(), session(5.0, 10.0, 1000), 10.0)
    assert (row["cpu_percent"], row["output_bytes_per_s"]) == (50.0, 100)
    assert (row["attached"], row["ports"], row["processes"]) == (1, [80], 2)


def test_the_next_look_is_what_was_used_meanwhile() -> None:
    rates = Rates()
    rows(rates, session(5.0, 10.0, 1000), 10.0)
    row = rows(rates, session(7.0, 12.0, 1600), 12.0)
    assert (row["cpu_percent"], row["output_bytes_per_s"]) == (100.0, 300)


def test_the_same_look_of_the_daemon_keeps_the_figure() -> None:
    rates = Rates()
    rows(rates, session(5.0, 10.0), 10.0)
    assert rows(rates, session(5.0, 10.0), 11.0)["cpu_percent"] == 50.0


def test_a_new_generation_begins_anew() -> None:
    rates = Rates()
    rows(rates, session(50.0, 10.0), 10.0)
    again = session(0.5, 12.0, generation=2, started_at=at(11.0))
    assert rows(rates, again, 12.0)["cpu_percent"] == 50.0


def test_a_session_that_was_never_looked_at_has_no_figure() -> None:
    row = rows(Rates(), {key: v for key, v in session(0, 0).items() if key != "usage"}, 1.0)
    assert (row["cpu_percent"], row["memory_bytes"]) == (None, None)

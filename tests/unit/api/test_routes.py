"""The table of routes, which is walked from its top."""

from __future__ import annotations

from api.routes import ROWS


def test_what_is_asked_most_often_is_found_first() -> None:
    paths = [row.path for row in ROWS[:4]]
    assert paths == [
        "/v1/machines/{id}/exec", "/machines/{id}/exec", "/v1/sessions", "/v1/sessions",
    ]  # fmt: skip

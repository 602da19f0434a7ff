"""Waiting for longer than one answer takes is as if it had been one question."""

from __future__ import annotations

from typing import Any, cast

import pytest

from holdfast.cli.commands.wait import waited
from holdfast.cli.connection import Connection


class Asked:
    """A daemon whose first answer comes too early; it keeps the bodies it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def call(self, _method: str, _path: str, *, body: dict[str, Any], **_more: Any) -> Any:
        self.bodies.append(dict(body))
        met = 0 if len(self.bodies) > 1 else None
        session = {"id": "s", "generation": 4}
        reason = "timeout" if met is None else "met"
        return {"met": met, "reason": reason, "session": session, "next_offset": 700}


@pytest.mark.parametrize("given", [None, 12])
def test_a_line_half_printed_at_the_end_of_one_question_is_whole_for_the_next(
    given: int | None,
) -> None:
    asked = Asked()
    waited(cast("Connection", asked), "s", [{"log": "^ready$"}], from_offset=given)
    assert [body.get("from_offset") for body in asked.bodies] == [given, given]
    assert [body.get("generation") for body in asked.bodies] == [None, 4]

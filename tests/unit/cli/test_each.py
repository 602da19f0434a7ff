"""A verb for several sessions asks all of them, at the same time."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.each import for_each
from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure
from holdfast.cli.invocation import Invocation
from holdfast.errors import Conflict

NOWHERE = Invocation(url="unix:///no/such/socket")
NONE = cast("Connection", None)


def test_a_refusal_keeps_no_other_from_being_asked(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def work(_connection: Connection, ref: str) -> int:
        if ref == "missing":
            raise Failure("no session", Exit.NO_SESSION)
        if ref == "held":
            raise Conflict("is alive")
        asked.append(ref)
        return Exit.OK

    assert for_each(NOWHERE, NONE, ["missing", "held", "there"], work) == Exit.NO_SESSION
    assert asked == ["there"]
    assert sorted(capsys.readouterr().err.splitlines()) == ["hold: is alive", "hold: no session"]


def test_all_are_asked_at_once() -> None:
    both = threading.Barrier(2, timeout=30)

    def work(_connection: Connection, _ref: str) -> int:
        both.wait()
        return Exit.OK

    assert for_each(NOWHERE, NONE, ["a", "b"], work) == Exit.OK

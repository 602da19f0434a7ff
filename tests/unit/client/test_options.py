from __future__ import annotations

import json
import re

import msgspec
import pytest

from holdfast.errors import BadRequest
from holdfast.ids import new_id
from holdfast.options import control_fields, session_request
from holdfast.waiting import Wanted
from holdfast.wire import ID_PATTERN, Condition, SessionRequest, StopRequest


def sent(value: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(msgspec.json.encode(value))
    return found


def test_an_id_is_valid_and_new_each_time() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 14 and re.match(ID_PATTERN, one) for one in ids)


def test_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1_700_000_000_000_000_000, 1_700_000_001_000_000_000])
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    assert new_id() < new_id()


def test_every_create_carries_an_id() -> None:
    assert sent(session_request(["true"], {}))["id"]
    assert sent(session_request(["true"], {"id": "mine"}))["id"] == "mine"


def test_a_string_goes_through_a_shell_and_a_list_does_not() -> None:
    assert sent(session_request("a | b", {}))["shell"] == "auto"
    assert sent(session_request("a", {"shell": "none"}))["shell"] == "none"
    assert "shell" not in sent(session_request(["a"], {}))
    assert sent(session_request(("a", "b"), {}))["command"] == ["a", "b"]


def test_options_become_the_fields_of_the_request() -> None:
    body = sent(
        session_request(
            ["x"],
            {
                "id": "i",
                "size": (5, 6),
                "capacity": 1 << 20,
                "on_full": "block",
                "timeout": 3,
                "stdin": "pipe",
                "env": {"A": "b"},
            },
        )
    )
    assert body == {
        "id": "i",
        "command": ["x"],
        "size": {"rows": 5, "cols": 6},
        "output": {"capacity": 1 << 20, "on_full": "block"},
        "timeouts": {"run": 3},
        "stdin": "pipe",
        "env": {"A": "b"},
    }


def test_what_is_sent_is_a_request_that_the_server_decodes() -> None:
    body = msgspec.json.encode(session_request("x", {"size": (5, 6), "timeout": 1.5}))
    assert msgspec.json.decode(body, type=SessionRequest).timeouts.run == 1.5


def test_a_control_request_carries_a_command_id_and_only_what_was_given() -> None:
    fields = control_fields({}, signal=None, grace=2.0)
    assert fields["command_id"]
    assert sent(StopRequest(**fields)) == {"command_id": fields["command_id"], "grace": 2.0}
    assert control_fields({"command_id": "c", "wait": False})["command_id"] == "c"


def test_conditions_stand_in_their_order() -> None:
    wanted = Wanted(log="ready", stream="stdout", port=80, idle=1.5, exit=True, change=True)
    assert wanted.conditions() == [
        Condition(log="ready", stream="stdout"),
        Condition(port=80),
        Condition(idle=1.5),
        "exit",
        "change",
    ]


def test_nothing_to_wait_for_is_refused() -> None:
    with pytest.raises(BadRequest):
        Wanted().conditions()

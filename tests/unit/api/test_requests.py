"""From a request to a Spec: what is refused, and that each meaning has one spelling."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.errors import BadRequest, describe
from api.requests import create_session, with_capacity
from holdfast import wire
from supervisor.errors import TooLarge
from supervisor.records import By, OutputSpec, Size, Spec

LIMIT = 1 << 20


def spec(**fields: Any) -> Spec:
    request = msgspec.convert({"command": ["true"], **fields}, wire.SessionRequest)
    return create_session(request, By(), LIMIT).spec


def refusal(body: dict[str, Any]) -> tuple[int, str | None]:
    """The status and the path that a body is refused with."""
    try:
        request = msgspec.convert({"command": ["true"], **body}, wire.SessionRequest)
        create_session(request, By(), LIMIT)
    except Exception as error:  # noqa: BLE001  (the table of errors decides)
        status, said = describe(error)
        return status, said.details.get("path")
    pytest.fail("it was not refused")


def test_a_request_that_says_nothing_more_is_the_default_spec() -> None:
    assert spec() == Spec(command=("true",))


def test_one_meaning_has_one_spelling() -> None:
    assert spec(stop_signal="TERM") == spec(stop_signal=15) == spec()
    assert spec(user=7) == spec(user="7")
    assert spec(command="true", shell="none") == spec()
    assert spec(stdin=None) == spec()


def test_a_terminal_is_its_own_stdin_and_stderr() -> None:
    made = spec(tty=True, size={"rows": 5, "cols": 6})
    assert (made.stdin, made.stderr, made.size) == ("pipe", "combined", Size(5, 6))


def test_a_string_is_split_as_posix_does_or_left_to_the_shell() -> None:
    assert spec(command="echo 'a b' c", shell="none").command == ("echo", "a b", "c")
    made = spec(command="echo $HOME | wc", shell="auto")
    assert (made.command, made.shell) == ("echo $HOME | wc", "auto")


def test_no_command_is_an_interactive_shell() -> None:
    assert spec(command=None).command is None


def test_a_string_without_a_shell_shows_the_array() -> None:
    with pytest.raises(BadRequest, match=r'\["echo", "a b"\]'):
        spec(command="echo 'a b'")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"command": []}, "$.command"),
        ({"command": [""]}, "$.command"),
        ({"command": ["a", "b\0"]}, "$.command[1]"),
        ({"command": [1]}, "$.command[0]"),
        ({"command": 5}, "$.command"),
        ({"command": "", "shell": "none"}, "$.command"),
        ({"command": "'", "shell": "none"}, "$.command"),
        ({"command": "a\0", "shell": "auto"}, "$.command"),
        ({"command": None, "shell": "none"}, "$.command"),
        ({"shell": "a\0"}, "$.shell"),
        ({"cwd": "relative"}, "$.cwd"),
        ({"cwd": "/a\0"}, "$.cwd"),
        ({"user": -1}, "$.user"),
        ({"user": "a\0"}, "$.user"),
        ({"env": {"": "x"}}, "$.env"),
        ({"env": {"A=B": "x"}}, "$.env"),
        ({"env": {"A": "secret\0"}}, "$.env"),
        ({"base_env": {"A\0": "x"}}, "$.base_env"),
        ({"env": {"A": 1}}, "$.env[...]"),
        ({"stop_signal": "SIGNOPE"}, "$.stop_signal"),
        ({"stop_signal": 0}, "$.stop_signal"),
        ({"stop_signal": 65}, "$.stop_signal"),
        ({"stop_grace": -1}, "$.stop_grace"),
        ({"size": {"rows": 0, "cols": 1}}, "$.size.rows"),
        ({"size": {"rows": 1, "cols": 70000}}, "$.size.cols"),
        ({"timeouts": {"run": 0}}, "$.timeouts.run"),
        ({"timeouts": {"run": 1e300}}, "$.timeouts.run"),
        ({"timeouts": {"idle": -1}}, "$.timeouts.idle"),
        ({"timeouts": {"disconnect": "1"}}, "$.timeouts.disconnect"),
        ({"timeouts": {"idle": 1e12}}, "$.timeouts.idle"),
        ({"timeouts": {"total": 1}}, "$.timeouts"),
        ({"output": {"capacity": 1}}, "$.output.capacity"),
        ({"id": "a/b"}, "$.id"),
        ({"id": "-a"}, "$.id"),
        ({"id": "a\n"}, "$.id"),
        ({"name": "x" * 65}, "$.name"),
        ({"labels": {"k": "v" * 257}}, "$.labels[...]"),
        ({"labels": {f"k{n}": "" for n in range(33)}}, "$.labels"),
        ({"tty": "yes"}, "$.tty"),
        ({"restart": "always"}, "$.restart"),
        ({"restart": {"policy": "sometimes"}}, "$.restart.policy"),
        ({"restart": {"initial": 0}}, "$.restart.initial"),
        ({"restart": {"max": 0.5}}, "$.restart.max"),
        ({"restart": {"intensity": 0}}, "$.restart.intensity"),
        ({"restart": {"window": -1}}, "$.restart.window"),
        ({"restart": {"retries": 3}}, "$.restart"),
        ({"commnad": ["true"]}, "$"),
    ],
)
def test_a_value_of_the_wrong_shape_is_422_with_its_path(body: dict[str, Any], path: str) -> None:
    assert refusal(body) == (422, path)


def test_a_machine_that_is_not_there_is_not_found() -> None:
    assert refusal({"machine": "elsewhere"})[0] == 404


def test_no_refusal_repeats_a_value_of_the_environment() -> None:
    with pytest.raises(Exception, match="NUL") as caught:
        spec(env={"A": "hunter2\0"})
    assert "hunter2" not in str(describe(caught.value))


def test_too_many_arguments_are_too_large() -> None:
    with pytest.raises(TooLarge) as caught:
        spec(command=["x" * LIMIT])
    assert caught.value.details["limit"] == "argv_env_bytes"
    with pytest.raises(TooLarge):
        spec(base_env={"A": "x" * LIMIT})


@pytest.mark.parametrize(
    ("body", "capacity"),
    [
        (b"{}", 1 << 20),
        (b'{"output": {"on_full": "block"}}', 1 << 20),
        (b'{"output": {"capacity": 16777216}}', 16 << 20),
    ],
)
def test_the_nodes_capacity_holds_where_none_was_asked_for(body: bytes, capacity: int) -> None:
    request = msgspec.json.decode(body, type=wire.SessionRequest)
    output = with_capacity(body, request, 1 << 20).output
    assert output.capacity == capacity
    assert output.on_full == request.output.on_full
    assert OutputSpec().capacity == 16 << 20

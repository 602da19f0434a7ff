"""Which port `--port auto` takes, without a daemon."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.failure import Failure
from holdfast.cli.stable_port import FIRST, LABEL, NUMBER, chosen, give_port, is_free


class FakeConnection:
    """A daemon with these live sessions."""

    def __init__(self, *sessions: dict[str, Any], socket_path: str | None = "/s") -> None:
        self.address = SimpleNamespace(socket=socket_path)
        self._sessions = sessions

    def sessions(self, query: Any) -> list[dict[str, Any]]:
        assert query["label"] == [LABEL]
        return list(self._sessions)


def given(body: dict[str, Any], port: str | int | None, *sessions: Any, **fields: Any) -> Any:
    give_port(cast("Connection", FakeConnection(*sessions, **fields)), body, port)
    return body


def live(port: int | str, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "name": None, "labels": {LABEL: str(port)}, **fields}


def test_a_directory_and_a_name_have_one_port() -> None:
    port = chosen("/app", "web", (), lambda _: True)
    assert port == chosen("/app", "web", (), lambda _: True)
    assert FIRST <= port < FIRST + NUMBER
    others = {chosen("/app", "db", (), lambda _: True), chosen("/b", "web", (), lambda _: True)}
    assert port not in others


def test_a_taken_port_and_one_in_use_are_passed_by() -> None:
    first = chosen("/app", None, (), lambda _: True)
    second = chosen("/app", None, {first}, lambda _: True)
    assert second == FIRST + (first - FIRST + 1) % NUMBER
    assert chosen("/app", None, {first}, lambda port: port != second) not in {first, second}


def test_without_a_free_port_it_says_so() -> None:
    with pytest.raises(Failure, match="no port from 20000 to 29999 is free"):
        chosen("/app", None, (), lambda _: False)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_somebody_listens_on_is_not_free(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        with socket.create_connection((address, port)):
            server.accept()[0].close()  # leaves TIME_WAIT behind
    assert is_free(port)


def test_the_port_is_exported_labelled_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    body = given({"id": "a", "labels": {"k": "v"}}, 8080)
    assert body["env"] == {"PORT": "8080"}
    assert body["labels"] == {"k": "v", LABEL: "8080"}
    assert "PORT=8080" in capsys.readouterr().err


def test_without_the_option_nothing_changes() -> None:
    assert given({"id": "a"}, None) == {"id": "a"}


def test_a_live_session_of_the_name_or_id_keeps_its_port() -> None:
    by_name = given({"id": "a", "name": "web", "cwd": "/app"}, "auto", live(20007, name="web"))
    assert by_name["env"]["PORT"] == "20007"
    by_id = given({"id": "x", "cwd": "/app"}, "auto", live(20008))
    assert by_id["env"]["PORT"] == "20008"


def test_a_port_given_to_another_live_session_is_not_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.cli.stable_port.is_free", lambda _: True)
    body = {"id": "a", "cwd": "/app"}
    first = int(given(dict(body), "auto")["env"]["PORT"])
    second = int(given(dict(body), "auto", live(first), live("none"))["env"]["PORT"])
    assert second != first


def test_another_machines_daemon_is_given_a_number_only() -> None:
    with pytest.raises(click.UsageError, match="give --port N"):
        given({"id": "a"}, "auto", socket_path=None)
    assert given({"id": "a"}, 80, socket_path=None)["env"] == {"PORT": "80"}


def test_port_given_twice_is_refused() -> None:
    with pytest.raises(click.UsageError, match="leave one"):
        given({"id": "a", "env": {"PORT": "1"}}, 80)

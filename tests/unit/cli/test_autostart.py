"""The daemon starts with nothing of its caller but what it is meant to have."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli import autostart
from holdfast.cli.failure import Failure


@pytest.mark.parametrize(
    "name",
    [
        "HOME", "USER", "LOGNAME", "PATH", "LANG", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
        "HOLDFAST_STATE_DIR", "HOLDFAST_RUNTIME_DIR", "HOLDFAST_CONFIG", "HOLDFAST_LISTEN_TCP",
        "HOLDFAST_OUTPUT_NODE_BYTES", "HOLDFAST_LIMITS_SESSIONS", "HOLDFAST_NODE_ID",
        "HOLDFAST_EXEC_ENABLED",
    ],
)  # fmt: skip
def test_a_variable_of_the_server_is_kept(name: str) -> None:
    assert autostart.daemon_environment({name: "/value"}) == {name: "/value"}


@pytest.mark.parametrize(
    "name",
    [
        "HOLDFAST_TOKEN", "HOLDFAST_TOKEN_FILE", "HOLDFAST_URL", "HOLDFAST_CONTEXT",
        "HOLDFAST_SESSION_ID", "HOLDFAST_NODE", "LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP",
        "VIRTUAL_ENV", "CI_JOB_MARKER", "TERM", "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY", "LC_ALL",
        "JENKINS_NODE_COOKIE", "DBUS_SESSION_BUS_ADDRESS", "XDGX", "HOMEX",
    ],
)  # fmt: skip
def test_a_variable_of_the_caller_stays_behind(name: str) -> None:
    assert autostart.daemon_environment({name: "value"}) == {}


def test_places_reach_the_daemon_whole_though_it_runs_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    given = {"HOLDFAST_STATE_DIR": "rel", "HOLDFAST_RUNTIME_DIR": "~/r", "HOLDFAST_CONFIG": "/c"}
    assert autostart.daemon_environment(given) == {
        "HOLDFAST_STATE_DIR": str(tmp_path / "rel"),
        "HOLDFAST_RUNTIME_DIR": "/h/r",
        "HOLDFAST_CONFIG": "/c",
    }


def test_a_missing_server_is_named_with_the_line_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Failure, match=r"pip install 'holdfast\[server\]'"):
        autostart.daemon_command()


def test_without_a_user_manager_there_is_no_scope(tmp_path: Path) -> None:
    assert autostart.scope({}) == []
    assert autostart.scope({"XDG_RUNTIME_DIR": str(tmp_path)}) == []

"""A client looks for its own daemon where that daemon puts itself."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from api.settings import load
from holdfast.address import resolve
from holdfast.places import local_socket, state_dir


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"HOME": "/h"}, "/h/.local/state/holdfast/run/holdfast.sock"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/holdfast/run/holdfast.sock"),
        ({"XDG_STATE_HOME": "/x", "HOLDFAST_STATE_DIR": "/s"}, "/s/run/holdfast.sock"),
        ({"HOLDFAST_STATE_DIR": "/s", "HOLDFAST_RUNTIME_DIR": "/r"}, "/r/holdfast.sock"),
    ],
)
def test_the_local_socket_lies_in_the_state_directory(environ: dict[str, str], path: str) -> None:
    environ = {"XDG_CONFIG_HOME": "/nowhere", **environ}
    assert local_socket(environ) == Path(path)
    assert resolve(environ=environ).socket == Path(path)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOLDFAST_STATE_DIR": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/s"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/holdfast"),
        ({"HOME": "/h"}, "/h/.local/state/holdfast"),
    ],
)
def test_the_state_directory_follows_the_environment(environ: dict[str, str], folder: str) -> None:
    assert state_dir({"XDG_CONFIG_HOME": "/nowhere", **environ}) == Path(folder)


def test_relative_places_and_the_home_become_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    assert state_dir({"HOLDFAST_STATE_DIR": "rel"}) == tmp_path / "rel"
    assert local_socket({"HOLDFAST_RUNTIME_DIR": "~/run"}) == Path("/h/run/holdfast.sock")


@pytest.mark.parametrize("written", ["/s", "rel/s", "~/s"])
def test_client_and_daemon_read_the_same_settings_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str
) -> None:
    monkeypatch.setenv("HOME", "/h")
    file = tmp_path / "config.toml"
    file.write_text(f'[state]\ndir = "{written}"\n')
    environ = {"HOLDFAST_CONFIG": str(file)}
    assert state_dir(environ) == load(environ).state_dir
    assert local_socket(environ) == load(environ).socket_path
    file.write_text(f'[state]\nruntime_dir = "{written}"\n')
    assert local_socket(environ) == load(environ).socket_path


def test_the_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "holdfast" / "config.toml"
    file.parent.mkdir()
    file.write_text('[state]\ndir = "/file"\nruntime_dir = "/run"\n')
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOLDFAST_STATE_DIR": "/environment"}
    assert state_dir(environ) == Path("/environment")
    assert local_socket(environ) == Path("/run/holdfast.sock")
    assert local_socket({**environ, "HOLDFAST_RUNTIME_DIR": "/r"}) == Path("/r/holdfast.sock")


@pytest.mark.parametrize("written", ["no toml", "state = 1", "[state]\ndir = 3"])
def test_a_file_that_makes_no_sense_is_left_to_the_daemon(tmp_path: Path, written: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(written)
    environ = {"HOLDFAST_CONFIG": str(file), "XDG_STATE_HOME": "/x"}
    assert state_dir(environ) == Path("/x/holdfast")


def test_an_empty_home_is_the_one_of_the_password_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert state_dir({"HOME": ""}) == home / ".local/state/holdfast"

"""Telling systemd or a parent that the daemon answers."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from api.notify import is_under_systemd, tell_parent, tell_systemd


@pytest.mark.parametrize(
    ("environment", "started_by_systemd"),
    [
        ({}, False),
        ({"INVOCATION_ID": "a"}, False),
        ({"INVOCATION_ID": "a", "NOTIFY_SOCKET": "/n"}, True),
        ({"INVOCATION_ID": "a", "SYSTEMD_EXEC_PID": "7"}, True),
        ({"INVOCATION_ID": "a", "NOTIFY_SOCKET": "/n", "SYSTEMD_EXEC_PID": "6"}, False),
    ],
)
def test_only_a_process_that_systemd_started_is_left_to_it(
    environment: dict[str, str], started_by_systemd: bool
) -> None:
    assert is_under_systemd(environment, 7) is started_by_systemd


def test_one_datagram_says_ready() -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        path = str(Path(folder) / "notify")
        ear.bind(path)
        tell_systemd({"NOTIFY_SOCKET": path}, "READY=1")
        assert ear.recv(64) == b"READY=1"


def test_nobody_listening_is_no_failure() -> None:
    tell_systemd({}, "READY=1")
    tell_systemd({"NOTIFY_SOCKET": "@nobody-listens-here"}, "READY=1")


def test_a_parent_gets_one_line_and_then_the_end() -> None:
    ready, theirs = os.pipe()
    tell_parent(theirs, ["unix:/s"])
    with os.fdopen(ready, "rb") as told:
        assert msgspec.json.decode(told.read()) == {"pid": os.getpid(), "listeners": ["unix:/s"]}


def test_a_parent_that_left_is_no_failure() -> None:
    ready, theirs = os.pipe()
    os.close(ready)
    tell_parent(theirs, [])

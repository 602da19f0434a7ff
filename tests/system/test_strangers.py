"""Broken and vanishing clients against a real daemon: nothing leaked, nothing started, no one hurt.

What is refused with an answer stands in `test_bad_input.py`; here are those that get none.
"""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.system.asking import get, printed, start
from tests.system.attaching import BINARY, TEXT, Attachment
from tests.system.daemon import PATIENCE_S, Daemon
from tests.system.processes import descriptors, until

ROUNDS = 6
BESIDE = 2
REFUSED_SPAWNS: list[dict[str, Any]] = [
    {"command": ["/no/such/program"]},
    {"command": ["/etc/passwd"], "stdin": "pipe"},
    {"command": ["true"], "cwd": "/no/such/folder", "tty": True},
    {"command": ["true"], "user": "nobody-of-that-name", "stdin": "pipe"},
    {"command": ["x\0y"]},
    {"command": []},
]


def raw(daemon: Daemon, content: bytes) -> socket.socket:
    """Send something; the caller closes."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE_S)
    connection.connect(str(daemon.socket))
    connection.sendall(content)
    return connection


def request(method: str, path: str, body: bytes = b"", length: int | None = None) -> bytes:
    """A request whose body may be shorter than it says."""
    size = len(body) if length is None else length
    return f"{method} {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {size}\r\n\r\n".encode() + body


def wait_body(*conditions: Any) -> bytes:
    return json.dumps({"for": list(conditions), "timeout": 50}).encode()


VANISHING = {
    "in a header": b"POST /v1/sessions HTTP/1.1\r\nhost: h\r\ncontent-le",
    "in a body": request("POST", "/v1/sessions", b'{"command": ["true"]', 400),
    "in input": request("POST", "/v1/sessions/cat/input", b"half", 1 << 30),
    "in a wait": request("POST", "/v1/sessions/cat/wait", wait_body("exit")),
    "in a wait for a port": request("POST", "/v1/sessions/cat/wait", wait_body({"port": 9})),
    "in followed output": request("GET", "/v1/sessions/cat/output?follow=true"),
    "in events": b"GET /v1/events HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n",
    "in a pipeline": request("GET", "/v1/node") * 50,
}


def half_a_frame(attached: Attachment) -> None:
    attached.socket.sendall(bytes([0x80 | BINARY, 0x80 | 100]) + bytes(4) + b"half")


def no_frame(attached: Attachment) -> None:
    attached.socket.sendall(b"\xff" * 64)


BROKEN: dict[str, tuple[Callable[[Attachment], None], int | None]] = {
    "half a frame": (half_a_frame, None),
    "no frame at all": (no_frame, 1002),
    "text where binary is due": (lambda one: one.frame(TEXT, b"ls\n"), 1007),
    "binary without a head": (lambda one: one.frame(BINARY, b"ls"), 1007),
    "an unknown kind": (lambda one: one.frame(BINARY, b"\x07" + bytes(8) + b"ls"), 1003),
    "an unknown type": (lambda one: one.say(type="dance"), 1003),
    "an unknown field": (lambda one: one.say(type="signal", signal="INT", loud=True), 1007),
    "an offset ahead": (lambda one: one.type_in(b"ls", 1 << 40), None),
    "an acknowledgement ahead": (lambda one: one.say(type="ack", offset=1 << 40), 1008),
}


@pytest.fixture
def watched(daemon: Daemon) -> Daemon:
    """A daemon with one session, `cat`, whose log is open already."""
    with daemon.client() as client:
        start(client, "sh", "-c", "echo up; exec cat", id="cat", stdin="pipe")
        printed(client, "cat", "^up$")
    return daemon


def held(daemon: Daemon) -> Counter[str]:
    """What daemon and keeper have open, connections too: ours is one of them."""
    with daemon.client() as client:
        keeper = client.get("/v1/node").json()["keeper"]["pid"]
        return Counter(descriptors(daemon.pid)) + Counter(descriptors(keeper))


def assert_leaves_nothing(daemon: Daemon, act: Callable[[], None]) -> None:
    """Do it once, so that what is made once is there; then nothing may be added by any round.

    The keeper's spare child, made when it is quiet, has a socket, and a connection may be on its
    way out when we look: `BESIDE` of a kind come and go. A leak would be `ROUNDS`.
    """
    act()
    before = held(daemon)
    for _ in range(ROUNDS):
        act()
    until(
        lambda: max((held(daemon) - before).values(), default=0) <= BESIDE,
        f"no more is open than {before}",
    )
    with daemon.client() as client:
        cat = get(client, "cat")
        assert (cat["state"], cat["attachments"]) == ("running", [])


@pytest.mark.parametrize("where", VANISHING)
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_client_that_vanishes_leaves_nothing(watched: Daemon, where: str, how: str) -> None:
    def vanish() -> None:
        connection = raw(watched, VANISHING[where])
        if how == "reset":  # the peer's end sees ECONNRESET, as what was received is not read
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    assert_leaves_nothing(watched, vanish)
    with watched.client() as client:
        assert [one["id"] for one in client.get("/v1/sessions").json()["items"]] == ["cat"]


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_attachment_is_closed_and_leaves_nothing(watched: Daemon, what: str) -> None:
    send, code = BROKEN[what]

    def break_it() -> None:
        with Attachment(watched, "cat") as attached:
            attached.until("input")
            send(attached)
            if code is not None:
                assert attached.until_close() == code
        with watched.client() as client:
            until(lambda: get(client, "cat")["attachments"] == [], "it is detached")

    assert_leaves_nothing(watched, break_it)
    with watched.client() as client:
        assert get(client, "cat")["input"]["next"] == 0


def test_refused_starts_leave_nothing_at_daemon_and_keeper(watched: Daemon) -> None:
    def be_refused() -> None:
        with watched.client() as client:
            for body in REFUSED_SPAWNS:
                answer = client.post("/v1/sessions", json=body)
                assert answer.status_code in (400, 422), answer.text
            assert client.post("/v1/prune").status_code == 200

    assert_leaves_nothing(watched, be_refused)


def test_an_exec_whose_client_vanished_goes_on(watched: Daemon) -> None:
    body = json.dumps({"command": ["cat"], "id": "abandoned", "stdin": "pipe"}).encode()
    raw(watched, request("POST", "/v1/machines/local/exec", body)).close()
    with watched.client() as client:
        until(lambda: exists(client, "abandoned"), "it was started")
        assert client.post("/v1/sessions/abandoned/kill", json={}).json()["state"] == "done"


def exists(client: httpx.Client, ref: str) -> bool:
    return client.get(f"/v1/sessions/{ref}").status_code == 200

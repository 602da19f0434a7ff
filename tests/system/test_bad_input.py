"""Bad input, walked by one table against a real daemon: refused as the contract says.

None of it leaks anything, and none of it starts anything.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import unix_connect

from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon

TRUE = ["true"]
NO_SUCH = "0no-such-session"


@pytest.fixture
def shared(new_daemon: NewDaemon) -> Daemon:
    """A daemon with a session that ended and, beside it, a file that is no program."""
    daemon = new_daemon(environment={"HOLDFAST_LIMITS_BODY_BYTES": "65536"})
    (daemon.state_dir / "plain.txt").write_text("not a program")
    with daemon.client() as client:
        made = client.post("/v1/sessions", json={"id": "done", "command": ["true"]})
        assert made.status_code == 201
        wait = client.post("/v1/sessions/done/wait", json={"for": ["ended"]})
        assert wait.json()["reason"] == "met"
    return daemon


@pytest.fixture
def client(shared: Daemon) -> Iterator[httpx.Client]:
    with shared.client() as client:
        yield client


START = "POST /v1/sessions"
EXEC = "POST /v1/machines/local/exec"
DONE = "/v1/sessions/done"

# What is sent, its JSON or bytes, the status and the code it is answered with.
TABLE: list[tuple[str, Any, int, str]] = [
    (START, b"{", 400, "BAD_REQUEST"),
    (START, b"\xff\xfe", 400, "BAD_REQUEST"),
    (START, b"[]", 422, "VALIDATION_FAILED"),
    (START, b"x" * (65536 + 1024 * 1024 + 1), 413, "TOO_LARGE"),
    ("POST /v1/tokens", b"x" * 65537, 413, "TOO_LARGE"),
    (START, {"command": TRUE, "unknown": 1}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "restart": {"policy": "ever"}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "restart": {"initial": 0}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "restart": {"initial": 9, "max": 1}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "restart": {"intensity": 0}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "restart": {"window": "1h"}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "timeouts": {"idle": 0}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "timeouts": {"disconnect": 1e99}}, 422, "VALIDATION_FAILED"),
    (START, {"command": {"a": 1}}, 422, "VALIDATION_FAILED"),
    (START, {"command": []}, 422, "VALIDATION_FAILED"),
    (START, {"command": ["a\0b"]}, 422, "VALIDATION_FAILED"),
    (START, {"command": "true"}, 400, "BAD_REQUEST"),
    (START, {"command": TRUE, "id": "../../etc"}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "id": "done", "cwd": "/tmp"}, 409, "CONFLICT"),
    (START, {"command": TRUE, "stop_signal": "SIGNOPE"}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "size": {"rows": 0, "cols": 80}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "size": {"rows": 24, "cols": 70000}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "machine": "elsewhere"}, 404, "NOT_FOUND"),
    (START, {"command": ["/no/such/program"]}, 400, "SPAWN_FAILED"),
    (START, {"command": ["PLAIN"]}, 400, "SPAWN_FAILED"),
    (START, {"command": TRUE, "cwd": "/no/such/folder"}, 400, "SPAWN_FAILED"),
    (START, {"command": TRUE, "user": "nobody-of-that-name"}, 400, "SPAWN_FAILED"),
    (START, {"command": TRUE, "ready": "exit"}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "ready": {}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "ready": {"log": "("}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "ready": {"port": 70000}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "ready": {"port": 1, "idle": 1}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "ready": {"http": "http://example.org/"}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "wait": {"for": []}}, 422, "VALIDATION_FAILED"),
    (START, {"wait": {"for": ["exit"], "generation": 1}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "read": {"follow": True}}, 422, "VALIDATION_FAILED"),
    (START, {"command": TRUE, "read": {"max_bytes": []}}, 422, "VALIDATION_FAILED"),
    (EXEC, {"command": TRUE, "wait": {"for": ["exit"]}}, 422, "VALIDATION_FAILED"),
    (EXEC, {"command": TRUE, "ready": {"idle": 0}}, 422, "VALIDATION_FAILED"),
    (EXEC, {"command": TRUE, "max_output_bytes": 1}, 422, "VALIDATION_FAILED"),
    (EXEC, {"command": "true"}, 400, "BAD_REQUEST"),
    (EXEC, {"command": TRUE, "unknown": 1}, 422, "VALIDATION_FAILED"),
    ("POST /machines/elsewhere/exec", {"command": TRUE}, 404, "NOT_FOUND"),
    ("GET /v1/sessions?colour=red", None, 400, "BAD_REQUEST"),
    ("GET /v1/sessions?cursor=zzz", None, 400, "BAD_REQUEST"),
    ("GET /v1/sessions?limit=0", None, 400, "BAD_REQUEST"),
    (f"GET /v1/sessions/{NO_SUCH}", None, 404, "NOT_FOUND"),
    ("GET /v1/sessions/..%2f..%2fetc", None, 404, "NOT_FOUND"),
    (f"PATCH {DONE}", {"name": "a b"}, 422, "VALIDATION_FAILED"),
    (f"PATCH {DONE}", {"state": "running"}, 422, "VALIDATION_FAILED"),
    (f"PATCH /v1/sessions/{NO_SUCH}", {}, 404, "NOT_FOUND"),
    (f"DELETE {DONE}?force=maybe", None, 400, "BAD_REQUEST"),
    (f"DELETE /v1/sessions/{NO_SUCH}", None, 404, "NOT_FOUND"),
    (f"GET {DONE}/output?offset=-1", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?offset=many", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?format=xml", None, 400, "BAD_REQUEST"),
    ("GET /v1/logs?colour=red", None, 400, "BAD_REQUEST"),
    ("GET /v1/logs?cursor=zzz", None, 400, "BAD_REQUEST"),
    (f"GET /v1/logs?session={NO_SUCH}", None, 404, "NOT_FOUND"),
    (f"GET {DONE}/output?since=yesterday", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?grep=%28", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?context=2", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?clean=bold", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?shape=head_tail&follow", None, 400, "BAD_REQUEST"),
    (f"POST {DONE}/input?offset=-1", b"x", 400, "BAD_REQUEST"),
    (f"POST {DONE}/input?wait=%7B", b"x", 400, "BAD_REQUEST"),
    (f"POST {DONE}/input?read=%5B%5D", b"x", 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/input?read=%7B%22colour%22:1%7D", b"x", 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/input", b"x", 400, "BAD_REQUEST"),
    (f"POST {DONE}/wait", {"for": []}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/wait", {"for": ["birth"]}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/wait", {"for": [{"log": "("}]}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/wait", {"for": [{"http": "ftp://localhost/"}]}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/wait", {"for": [{"http": "http://10.0.0.1/"}]}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/wait", {"for": [{"port": 1, "status": 200}]}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/wait", {"for": ["exit"], "timeout": 51}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/signal", {"signal": "SIGNOPE"}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/signal", {"target": "everyone"}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/resize", {"rows": 0, "cols": 80}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/resize", {"rows": 24}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/timeout", {}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/timeout", {"run": -1}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/timeout", {"idle": "x"}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/timeout", {"disconnect": 1e99}, 422, "VALIDATION_FAILED"),
    (f"GET {DONE}/output?previous=maybe", None, 400, "BAD_REQUEST"),
    (f"GET {DONE}/output?previous=true", None, 404, "NOT_FOUND"),
    (f"PATCH {DONE}", {"on_full": "wait"}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/stop", {"grace": -1}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/stop", {"command_id": "a b"}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/stop", {"generation": 0}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/stop", {"generation": 7}, 409, "CONFLICT"),
    (f"POST {DONE}/kill", {"signal": "SIGKILL"}, 422, "VALIDATION_FAILED"),
    (f"POST {DONE}/restart", {"base_env": {"A=": "x"}}, 422, "VALIDATION_FAILED"),
    (f"POST /v1/sessions/{NO_SUCH}/kill", {}, 404, "NOT_FOUND"),
    (f"GET /v1/commands/{NO_SUCH}", None, 404, "NOT_FOUND"),
    ("GET /v1/events?after=now", None, 400, "BAD_REQUEST"),
    ("GET /v1/events?colour=red", None, 400, "BAD_REQUEST"),
    ("GET /v1/events?limit=1&limit=2", None, 400, "BAD_REQUEST"),
    ("GET /v1/events?after=0&after=1", None, 400, "BAD_REQUEST"),
    ("POST /v1/tokens", {}, 422, "VALIDATION_FAILED"),
    ("POST /v1/tokens", {"name": ""}, 422, "VALIDATION_FAILED"),
    ("POST /v1/node/shutdown?kill_sessions=perhaps", None, 400, "BAD_REQUEST"),
    ("GET /nothing", None, 404, "NOT_FOUND"),
    ("PUT /v1/sessions", None, 405, "BAD_REQUEST"),
]


def walk(client: httpx.Client, daemon: Daemon) -> list[str]:
    """Send the whole table; return a line for each answer that is not the one it should be."""
    wrong = []
    for asked, body, status, code in TABLE:
        method, path = asked.split(" ", 1)
        content = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        if content is not None:
            content = content.replace(b"PLAIN", os.fsencode(daemon.state_dir / "plain.txt"))
        response = client.request(method, path, content=content)
        error = response.json().get("error", {"code": None, "message": ""})
        if (response.status_code, error["code"]) != (status, code) or not error["message"]:
            wrong.append(f"{asked} {body!r:.60}: {response.status_code} {response.text:.200}")
    return wrong


def test_bad_input_is_refused_as_the_table_says_and_leaks_and_starts_nothing(
    client: httpx.Client, shared: Daemon
) -> None:
    assert walk(client, shared) == []
    before = descriptors(shared.pid)
    assert walk(client, shared) == []
    assert descriptors(shared.pid) == before
    sessions = client.get("/v1/sessions").json()["items"]
    assert {session["state"] for session in sessions} == {"exited"}
    outcomes = {session["outcome"] for session in sessions if session["id"] != "done"}
    assert outcomes == {"spawn_failed"}


def test_a_program_that_cannot_run_says_errno_stage_and_session(client: httpx.Client) -> None:
    refused = client.post("/v1/sessions", json={"command": ["/no/such/program"]}).json()["error"]
    assert refused["details"]["errno"] == "ENOENT"
    assert refused["details"]["stage"] == "exec"
    session = client.get(f"/v1/sessions/{refused['details']['session_id']}").json()
    assert (session["state"], session["outcome"]) == ("exited", "spawn_failed")


def test_exec_answers_200_for_a_program_that_cannot_run(client: httpx.Client) -> None:
    for program, code in (("/no/such/program", 127), ("/etc/passwd", 126)):
        response = client.post("/machines/local/exec", json={"command": [program]})
        assert response.status_code == 200
        assert response.json()["exit_code"] == code
        assert response.json()["stderr"]


def test_too_long_a_command_is_refused_for_its_own_limit(client: httpx.Client) -> None:
    for path in ("/v1/sessions", "/v1/machines/local/exec"):
        answer = client.post(path, json={"command": ["true", "x" * 1024 * 1024]})
        assert answer.status_code == 413
        assert answer.json()["error"]["details"]["limit"] == "argv_env_bytes"


def test_an_idempotency_key_that_contradicts_the_body_is_refused(client: httpx.Client) -> None:
    response = client.post(
        "/v1/sessions/done/stop", json={"command_id": "a"}, headers={"Idempotency-Key": "b"}
    )
    assert response.status_code == 400


def raw(daemon: Daemon, content: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(daemon.socket))
    connection.sendall(content)
    return connection


def test_a_client_that_vanishes_in_its_body_starts_nothing(
    client: httpx.Client, shared: Daemon
) -> None:
    before = client.get("/v1/sessions").json()["items"]
    head = b"POST /v1/sessions HTTP/1.1\r\nhost: h\r\ncontent-length: 400\r\n\r\n"
    raw(shared, head + b'{"command": ["true"]').close()
    hard = raw(shared, head + b'{"command": ["true"]')
    hard.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hard.close()
    assert client.get("/v1/sessions").json()["items"] == before


def test_an_attachment_to_nothing_is_refused_before_the_upgrade(shared: Daemon) -> None:
    for path, status in ((NO_SUCH, 404), ("done/attach?role=king", 400)):
        target = path if "/" in path else f"{path}/attach"
        with pytest.raises(InvalidStatus) as refused:
            unix_connect(
                str(shared.socket),
                uri=f"ws://h/v1/sessions/{target}",
                subprotocols=["holdfast.v1"],
            )
        assert refused.value.response.status_code == status
    assert b"completing handshake" not in (shared.state_dir / "daemon.log").read_bytes()


def descriptors(pid: int) -> list[str]:
    """What a process has open, less the connections, which come and go with their clients."""
    folder = Path(f"/proc/{pid}/fd")
    targets = [os.readlink(link) for link in folder.iterdir()]  # noqa: PTH115
    return sorted(target for target in targets if not target.startswith("socket:"))

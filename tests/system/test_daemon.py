"""The daemon as a process: its start, its ends, and what it refuses in words."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import httpx
import pytest

from tests.system.conftest import NewDaemon
from tests.system.daemon import PATIENCE_S, Daemon, pidfd_of, readable


def start(*flags: str, environment: dict[str, str]) -> tuple[int, str]:
    """Start a daemon that is expected to end by itself; its exit code and what it says."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "api", *flags],
        env=environment,
        cwd="/",
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        text=True,
    )
    return ended.returncode, ended.stderr


def test_it_answers_and_says_what_it_listens_on(daemon: Daemon) -> None:
    with daemon.client() as client:
        node = client.get("/v1/node").json()
    assert node["pid"] == daemon.pid
    assert node["listeners"] == daemon.listeners == [f"unix:{daemon.socket}"]


def test_what_it_makes_is_private(daemon: Daemon) -> None:
    made = [daemon.state_dir, *daemon.state_dir.rglob("*")]
    assert not [path for path in made if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_killed_it_comes_back_by_itself(daemon: Daemon) -> None:
    first, keeper = daemon.pid, daemon.keeper_pid()
    daemon.kill9()
    node = daemon.wait_answering()
    assert node["pid"] != first
    assert node["keeper"]["pid"] == keeper


def test_terminated_it_stays_away_and_the_keeper_stays(daemon: Daemon) -> None:
    keeper = daemon.keeper_pid()
    daemon.terminate()
    assert not daemon.socket.exists()
    daemon.start()
    assert daemon.keeper_pid() == keeper


def test_a_hangup_changes_nothing(daemon: Daemon) -> None:
    pid = daemon.pid
    os.kill(pid, signal.SIGHUP)
    assert daemon.wait_answering()["pid"] == pid


def test_sessions_go_on_over_a_restart(daemon: Daemon) -> None:
    with daemon.client() as client:
        made = client.post("/v1/sessions", json={"command": ["sleep", "1000"]}).json()["session"]
    daemon.restart()
    with daemon.client() as client:
        found = client.get(f"/v1/sessions/{made['id']}").json()
    assert (found["state"], found["pid"]) == ("running", made["pid"])
    assert found["usage"]["processes"] == 1


def test_a_shutdown_with_sessions_ends_them_and_the_keeper(daemon: Daemon) -> None:
    with daemon.client() as client, pidfd_of(daemon.keeper_pid()) as keeper:
        made = client.post("/v1/sessions", json={"command": ["sleep", "1000"]}).json()["session"]
        with pidfd_of(made["pid"]) as child:
            daemon.end()
            assert readable(child)
            assert readable(keeper)


def test_a_second_daemon_by_hand_is_told_who_serves(daemon: Daemon) -> None:
    code, said = start("--foreground", environment=daemon.environment)
    assert code == 1
    assert f"pid {daemon.pid}" in said


def test_a_second_daemon_started_by_a_program_ends_content(daemon: Daemon) -> None:
    assert start("--autostarted", environment=daemon.environment) == (0, "")


def test_a_socket_that_was_removed_with_its_folder_comes_back(
    new_daemon: NewDaemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runtime = Path(mkdtemp(prefix="r", dir=tmp_path_factory.getbasetemp())) / "user"
    daemon = new_daemon(environment={"HOLDFAST_RUNTIME_DIR": str(runtime)})
    pid, socket_path = daemon.pid, runtime / "holdfast.sock"
    assert daemon.listeners == [f"unix:{socket_path}"]
    socket_path.unlink()
    runtime.rmdir()
    assert daemon.wait_answering()["pid"] == pid


def test_a_token_opens_tcp_and_nothing_else_does(new_daemon: NewDaemon) -> None:
    daemon = new_daemon(tcp="127.0.0.1:0")
    url = daemon.listeners[1].replace("tcp:", "http://")
    with daemon.client() as local:
        made = local.post("/v1/tokens", json={"name": "ci"})
    assert made.status_code == 201
    token = made.json()["token"]
    with httpx.Client(base_url=url) as remote:
        assert remote.get("/healthz").status_code == 200
        assert remote.get("/v1/node").status_code == 401
        remote.headers["Authorization"] = f"Bearer {token}"
        assert remote.get("/v1/node").status_code == 200
        started = remote.post("/v1/sessions", json={"command": ["true"]}).json()["session"]
    assert started["created_by"] == "ci"
    database = (daemon.state_dir / "holdfast.db").read_bytes()
    wal = (daemon.state_dir / "holdfast.db-wal").read_bytes()
    assert token.encode() not in database + wal + (daemon.state_dir / "daemon.log").read_bytes()


def test_systemd_is_told_when_it_answers(new_daemon: NewDaemon) -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        path = str(Path(folder) / "notify")
        ear.bind(path)
        ear.settimeout(PATIENCE_S)
        daemon = new_daemon(environment={"NOTIFY_SOCKET": path})
        assert ear.recv(64) == b"READY=1"
        daemon.terminate()
        assert ear.recv(64) == b"STOPPING=1"


def test_supervisord_in_the_environment_is_refused_in_words(tmp_path: Path) -> None:
    found = tmp_path / "supervisor-4.3.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: supervisor\nVersion: 4.3.0\n")
    code, said = start(environment={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)})
    assert code == 1
    assert "supervisord is installed" in said
    assert "pip install" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOLDFAST_LIMITS_SESSIONS", "none", "limits.sessions"),
        ("HOLDFAST_LIMITS_SESSION", "1", "no setting"),
        ("HOLDFAST_RUNTIME_DIR", "/tmp/" + "x" * 120, "107"),
        ("HOLDFAST_LISTEN_TCP", "everywhere", "host:port"),
        ("HOLDFAST_LISTEN_TCP", "0.0.0.0:0", "tls_cert"),
        ("HOLDFAST_CONFIG", "/no/such/file.toml", "no settings file"),
        ("HOLDFAST_STATE_DIR", "/proc/holdfast", "/proc/holdfast"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(
    name: str, value: str, said: str, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    code, words = start(environment={"HOLDFAST_STATE_DIR": str(tmp_path / "s"), name: value})
    assert code == 1
    assert said in words
    assert words.startswith("holdfastd: ")
    assert words.count("\n") == 1
    if (tmp_path / "s" / "run" / "keeper.sock").exists():
        new_daemon(tmp_path / "s").end()  # the keeper that was started before the refusal

"""The first command starts the daemon: one, whole, and with nothing of its caller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.system.daemon import Daemon, pidfd_of, readable
from tests.system.hold_command import HOLD, Hold

MARKER = "CI_JOB_MARKER"


@pytest.fixture
def hold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hold]:
    """`hold` with a state directory in which nothing runs yet; ended after the test."""
    folder = Path(mkdtemp(prefix="h", dir=tmp_path_factory.getbasetemp()))
    environment = Daemon(folder, tcp=None, environment={}).environment
    yield Hold(environment)
    ending = Hold(environment)
    if (folder / "run" / "keeper.sock").exists():
        ending("ls")  # only a daemon can end a keeper
    ending("shutdown", "--kill-sessions")


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    pairs = (entry.decode().partition("=") for entry in entries if entry)
    return {name: value for name, _, value in pairs}


@pytest.mark.timeout(600)  # a hundred interpreters take what the machine has
def test_a_hundred_commands_at_once_start_one_daemon(hold: Hold) -> None:
    with ExitStack() as running:
        commands = [running.enter_context(hold.running("node", "--json")) for _ in range(100)]
        answers = [command.communicate()[0] for command in commands]
    assert {command.returncode for command in commands} == {0}
    pids = {answer.split(b'"pid": ')[1].split(b",")[0] for answer in answers}
    assert len(pids) == 1


def test_the_daemon_and_the_keeper_have_nothing_of_the_caller(hold: Hold) -> None:
    hold.environment |= {
        MARKER: "job-17", "HOLDFAST_TOKEN": "hf_secret", "HOLDFAST_SESSION_ID": "outer",
        "HOLDFAST_LIMITS_ATTACHMENTS": "77", "LD_LIBRARY_PATH": "/nowhere",
    }  # fmt: skip
    reader, writer = os.pipe()
    try:
        subprocess.run([HOLD, "ls"], env=hold.environment, pass_fds=[writer], check=True,
                       capture_output=True, cwd="/tmp")  # fmt: skip
        os.close(writer)
        writer = -1
        node = hold.json("node")
        for pid in (node["pid"], node["keeper"]["pid"]):
            names = set(environment_of(pid))
            allowed = {"HOME", "USER", "LOGNAME", "PATH", "LANG", "HOLDFAST_STATE_DIR",
                       "HOLDFAST_LIMITS_ATTACHMENTS", "XDG_CONFIG_HOME"}  # fmt: skip
            assert names <= allowed
            assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
            assert os.getsid(pid) != os.getsid(0)
        assert node["limits"]["attachments"] == 77
        assert readable(reader), "a descriptor of the caller is still open somewhere"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def test_the_daemon_has_no_terminal_and_default_signals(hold: Hold) -> None:
    ignoring = "trap '' INT HUP TERM QUIT; exec \"$0\" ls"
    subprocess.run(["sh", "-c", ignoring, HOLD], env=hold.environment, check=True,
                   capture_output=True)  # fmt: skip
    pid = hold.json("node")["pid"]
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert stat[4] == "0", "it has a controlling terminal (proc(5), tty_nr)"
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.split("SigIgn:")[1].split()[0], 16)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        assert not ignored >> (number - 1) & 1


def test_a_job_that_kills_everything_with_its_marker_takes_no_session_along(hold: Hold) -> None:
    plain = hold.environment
    job = {**plain, MARKER: "job-17"}
    subprocess.run([HOLD, "ls"], env=job, check=True, capture_output=True)
    kept = hold.start("--name", "kept", "--", "sleep", "60")
    marked = subprocess.run(
        [HOLD, "start", "--", "sleep", "60"], env=job, check=True, capture_output=True, text=True
    ).stdout.strip()
    for pid in pids_with(f"{MARKER}=job-17"):
        os.kill(pid, signal.SIGKILL)
    assert hold("wait", marked).returncode == 137
    assert hold.json("inspect", kept)["state"] == "running"


def pids_with(entry: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if entry.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_without_autostart_no_daemon_is_started(hold: Hold) -> None:
    done = hold("--no-autostart", "ls")
    assert done.returncode == 69
    assert done.stderr.startswith(b"hold: no daemon answers")
    assert hold("doctor").returncode == 0
    assert hold("version").returncode == 0
    assert hold("shutdown").returncode == 69
    assert not Path(hold.environment["HOLDFAST_STATE_DIR"], "run", "holdfast.sock").exists()


def test_a_daemon_that_cannot_start_says_why(hold: Hold) -> None:
    hold.environment |= {"HOLDFAST_LIMITS_ATTACHMENTS": "many"}
    done = hold("ls")
    assert done.returncode == 69
    assert b"the daemon did not start" in done.stderr
    assert b"limits.attachments" in done.stderr
    hold.environment |= {"HOLDFAST_LIMITS_ATTACHMENTS": "10"}
    assert hold("ls").returncode == 0


def test_a_relative_state_directory_is_the_same_for_the_daemon(hold: Hold) -> None:
    folder = Path(hold.environment["HOLDFAST_STATE_DIR"])
    relative = Hold({**hold.environment, "HOLDFAST_STATE_DIR": folder.name}, cwd=folder.parent)
    assert relative.json("node")["state_dir"] == str(folder)
    assert hold.json("node") == relative.json("node")


def test_shutdown_keeps_sessions_for_the_next_command(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", "echo ready; cat")
    hold.out("wait", session, "--for", "log:ready")
    before = hold.json("node")
    assert hold("shutdown").returncode == 0
    assert hold("--no-autostart", "ls").returncode == 69
    assert hold.json("inspect", session)["state"] == "running"
    assert hold.json("node")["keeper"] == before["keeper"]
    assert hold.json("node")["pid"] != before["pid"]


def test_shutdown_with_its_sessions_leaves_no_process(hold: Hold) -> None:
    session = hold.start("--", "sleep", "60")
    pids = [hold.json("inspect", session)["pid"], hold.json("node")["keeper"]["pid"]]
    with pidfd_of(pids[0]) as child, pidfd_of(pids[1]) as keeper:
        assert hold("shutdown", "--kill-sessions").returncode == 0
        assert readable(child)
        assert readable(keeper)


def test_serve_runs_in_the_foreground_until_told(hold: Hold) -> None:
    with hold.running("serve", "--tcp", "127.0.0.1:0") as served:
        node = wait_for_node(hold, served)
        assert node["pid"] == served.pid
        assert any(one.startswith("tcp:127.0.0.1:") for one in node["listeners"])
        served.send_signal(signal.SIGTERM)
        assert served.wait() == 0


def wait_for_node(hold: Hold, served: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The node's answer as soon as there is one; a line of its log comes when it listens."""
    assert served.stderr is not None
    while served.stderr.readline():
        done = hold("--no-autostart", "node", "--json")
        if done.returncode == 0:
            node: dict[str, Any] = json.loads(done.stdout)
            return node
    raise AssertionError("serve ended")


def test_python_dash_m_is_hold(hold: Hold) -> None:
    done = subprocess.run([sys.executable, "-m", "holdfast.cli", "--no-autostart", "ls"],
                          env=hold.environment, capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 69

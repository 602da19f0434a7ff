"""`hold` goes on where something under it ends: its daemon, its reader, one of its sessions."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import Daemon
from tests.system.hold_command import HOLD, PATIENCE_S, Hold


@pytest.fixture
def hold(daemon: Daemon, tmp_path: Path) -> Hold:
    return Hold(daemon.environment, tmp_path)


def wait_connected(child: subprocess.Popen[bytes]) -> None:
    """Wait until the command is connected to its daemon; no descriptor tells of it."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_connected(child.pid):
        assert time.monotonic() < deadline, "it did not connect"
        select.select([], [], [], 0.01)


def is_connected(pid: int) -> bool:
    """Whether a unix socket of the process is connected (state 03, proc(5))."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    connected = {f"socket:[{line[6]}]" for line in lines[1:] if line[5] == "03"}
    return any(target in connected for target in open_targets(pid))


def open_targets(pid: int) -> Iterator[str]:
    """What the descriptors of a process lead to, without those that it closes meanwhile."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(fd.readlink())


def test_wait_goes_on_through_a_sigkill_of_the_daemon(hold: Hold, daemon: Daemon) -> None:
    session = hold.start("--", "sh", "-c", "read x; exit 5")
    with hold.running("wait", session, "--for", "exit") as child:
        wait_connected(child)
        daemon.kill9()
        daemon.wait_answering()
        hold.out("send", session, "--eof")
        assert child.wait(PATIENCE_S) == 5


def test_send_passes_stdin_on_before_it_ends_the_input(hold: Hold) -> None:
    for arguments in (["--eof"], ["-", "--eof"]):
        session = hold.start("--", "cat")
        hold.out("send", session, *arguments, stdin=b"piped")
        assert hold("wait", session).returncode == 0
        assert hold.out("logs", session) == "piped"
    assert hold("send", session, "--line").returncode == 64


def test_logs_say_that_their_beginning_was_dropped(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", "head -c 200000000 /dev/zero; echo last")
    assert hold("wait", session).returncode == 0
    done = hold("logs", session)
    assert b"bytes of output are no longer kept" in done.stderr
    assert done.stdout.endswith(b"last\n")


def test_a_run_whose_output_finds_no_place_is_stopped_and_says_so(hold: Hold) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [HOLD, "run", "--name", "r", "--", "sh", "-c", "echo out; exec sleep 60"],
            env=hold.environment, stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.stderr == b"hold: cannot write: No space left on device; r was stopped\n"
    assert done.returncode == 1
    assert hold.json("inspect", "r")["state"] == "exited"


def test_rm_of_several_goes_on_behind_one_that_is_missing(hold: Hold) -> None:
    session = hold.start("--", "true")
    assert hold("wait", session).returncode == 0
    done = hold("rm", "--json", "no-such-session", session)
    assert (done.returncode, json.loads(done.stdout)) == (66, {"removed": session})


def test_a_session_without_a_terminal_is_left_by_the_same_keys(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", "echo ready; cat")
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("ready")
        terminal.until_raw()
        terminal.type(b"\x04")
        terminal.until("the input stays open")
        terminal.type(b"\x1dd")
        assert terminal.wait() == 0
        assert terminal.is_as_before
        assert b"the session goes on" in terminal.raw_output

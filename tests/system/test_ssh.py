"""`ssh://` with a stand-in for ssh that runs the far side's command here: a real daemon, the real
`hold dial-stdio`, and every argument checked."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import NotReachable
from tests.system.daemon import Daemon
from tests.system.hold_command import HOLD, Hold

URL = "ssh://me@box:2222"
SSH = """#!/bin/sh
echo "$$ $*" >> "{log}"
case "$*" in
    "-T -o ConnectTimeout=10 -o ClearAllForwardings=yes "*"-p 2222 -l me -- box hold "*) ;;
    *) echo "unexpected: $*" >&2; exit 255 ;;
esac
while [ "$1" != -- ]; do shift; done
shift 2
{then}
"""


class FarSide:
    """A folder with an `ssh` in it, and what that was called with. `then` runs the command."""

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        self.folder, self.log = folder, folder / "log"
        self.state = daemon.state_dir
        self.environment = {**daemon.environment, "HOLDFAST_URL": URL}
        self.environment["PATH"] = f"{folder}:{Path(HOLD).parent}:{os.environ['PATH']}"
        self.answer('exec "$@"')

    def answer(self, then: str) -> None:
        ssh = self.folder / "ssh"
        ssh.write_text(SSH.format(log=self.log, then=then))
        ssh.chmod(0o755)

    def pids(self) -> list[int]:
        return [int(line.split()[0]) for line in self.log.read_text().splitlines()]


@pytest.fixture
def far(tmp_path: Path, daemon: Daemon) -> FarSide:
    return FarSide(tmp_path, daemon)


@pytest.fixture
def hold(far: FarSide) -> Hold:
    return Hold(far.environment)


def test_commands_pipes_and_exit_codes_pass_through_ssh(hold: Hold, far: FarSide) -> None:
    done = hold("run", "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin=b"\x00\xff\r\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\x00\xff\r\n", b"err\n")
    assert hold.out("exec", "-T", "--", "echo", "there") == "there"
    assert "BatchMode=yes" in far.log.read_text()


def test_an_attachment_and_a_followed_log_go_on_when_their_ssh_is_killed(
    hold: Hold, far: FarSide
) -> None:
    session = hold.start("--", "cat")
    with hold.running("attach", session) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        attached.stdin.write(b"one\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == b"one\n"
        os.kill(far.pids()[-1], signal.SIGKILL)
        attached.stdin.write(b"two\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == b"two\n"
    with hold.running("logs", "-f", session) as logs:
        assert logs.stdout is not None
        assert [logs.stdout.readline() for _ in range(2)] == [b"one\n", b"two\n"]
        os.kill(far.pids()[-1], signal.SIGKILL)
        hold.out("send", session, "--line", "three", "--eof")
        assert logs.stdout.read() == b"three\n"
        assert logs.wait() == 0


async def test_the_sdk_goes_on_when_every_ssh_was_killed(
    far: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in far.environment.items():
        monkeypatch.setenv(name, value)
    async with holdfast.connect(URL) as hf:
        assert (await hf.run(["echo", "there"])).stdout == b"there\n"
        session = await hf.start(["cat"])
        assert session.stdin is not None
        session.stdin.write(b"one\n")
        assert await session.stdout.readline() == b"one\n"
        for pid in far.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        session.stdin.write(b"two\n")
        session.stdin.close()
        assert await session.stdout.readline() == b"two\n"
        assert await session.wait() == 0


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("echo 'ssh: Could not resolve hostname box' >&2; exit 255", "Could not resolve hostname"),
        ("exit 127", "on the PATH of a shell that is not interactive"),
        ('echo Welcome; exec "$@"', "prints 'Welcome"),
        ('exec "$1" -H unix:///nowhere dial-stdio', "No such file or directory"),
    ],
)
def test_what_keeps_ssh_from_the_daemon_is_said(
    hold: Hold, far: FarSide, then: str, words: str
) -> None:
    far.answer(then)
    done = hold("ls")
    assert done.returncode == 69
    assert f"no daemon answers at {URL}: ".encode() in done.stderr
    assert words.encode() in done.stderr


async def test_a_missing_ssh_is_named(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    (far.folder / "ssh").unlink()
    monkeypatch.setenv("PATH", str(far.folder))
    async with holdfast.connect(URL) as hf:
        with pytest.raises(NotReachable, match="install the OpenSSH client"):
            await hf.node()
    done = Hold({**far.environment, "PATH": str(far.folder)})("ls")
    assert (done.returncode, b"install the OpenSSH client" in done.stderr) == (69, True)


def test_no_autostart_reaches_the_far_side(hold: Hold, far: FarSide) -> None:
    hold.out("--no-autostart", "ls")
    assert far.log.read_text().endswith("-- box hold --no-autostart dial-stdio\n")


def test_dial_stdio_says_that_no_daemon_runs_where_it_may_start_none(far: FarSide) -> None:
    environment = {**far.environment, "HOLDFAST_STATE_DIR": str(far.folder)}
    argv = [HOLD, "--no-autostart", "dial-stdio"]
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (69, b"")
    assert b"no daemon answers at unix://" in done.stderr

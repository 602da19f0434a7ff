"""`ssh://` through the real ssh and a real sshd on loopback, with a key made for the test."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.daemon import Daemon
from tests.system.hold_command import HOLD, Hold

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or (SSHD is None and "CI" not in os.environ),
    reason="no sshd here, or not root: ssh:// is tested against a stand-in alone",
)


@pytest.fixture
def hold(tmp_path: Path, daemon: Daemon) -> Hold:
    """`hold` with an `ssh` on its PATH that reads the test's own configuration.

    sshd serves on a socket pair of each ssh (`sshd -i`), so no port is taken.
    """
    for name in ("host", "key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(make, check=True)
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own condition
    there = f"HOLDFAST_STATE_DIR={daemon.state_dir} PATH={Path(HOLD).parent}:/usr/bin:/bin"
    (tmp_path / "sshd_config").write_text(
        f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/key.pub\nStrictModes no\n"
        f"UsePAM no\nPermitRootLogin yes\nSetEnv {there}\n"
    )
    (tmp_path / "config").write_text(
        f"Host box\n  User root\n  IdentityFile {tmp_path}/key\n  StrictHostKeyChecking no\n"
        f"  UserKnownHostsFile {tmp_path}/known\n"
        f"  ProxyCommand {SSHD} -i -f {tmp_path}/sshd_config -E {tmp_path}/sshd.log\n"
    )
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/config "$@"\n')
    ssh.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return Hold({**daemon.environment, "PATH": path, "HOLDFAST_URL": "ssh://box"})


def test_commands_binary_pipes_and_exit_codes_pass_through(hold: Hold) -> None:
    content = bytes(range(256)) * 4096
    done = hold("run", "--", "sh", "-c", "cat; exit 7", stdin=content)
    assert (done.returncode, done.stdout == content, done.stderr) == (7, True, b"")


def test_a_session_is_started_attached_and_followed_there(hold: Hold) -> None:
    session = hold.start("--", "cat")
    with hold.running("attach", session) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        attached.stdin.write(b"one\n")
        attached.stdin.flush()
        assert select.select([attached.stdout], [], [], 30)[0]
        assert attached.stdout.readline() == b"one\n"
    hold.out("send", session, "--eof")
    assert hold.out("logs", "-f", session) == "one"

"""What a child sees of itself in /proc/self: nothing of the daemon, nothing of who started it."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import sys

import httpx
import pytest

from tests.system.asking import ended, output, start
from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon

LAUNCHER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD})
for name in ("HUP", "INT", "QUIT", "PIPE", "USR2", "TSTP", "CHLD"):
    signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
for number in range(20, 40):
    os.dup2(os.open("/etc/passwd", os.O_RDONLY), number)
os.umask(0o777)
os.chdir("/usr")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""A careless parent: blocked and ignored signals, open descriptors, a strange mask and folder."""

LOOK = 'readlink /proc/self/fd/*; cat /proc/self/status; echo "Soft: $(ulimit -Sn)"'
GLIBC_OWN = 3 << 31
"""Signals 32 and 33 are the C library's; it may show them as ignored."""


@pytest.fixture(params=["plain", "careless"])
def started_by(request: pytest.FixtureRequest, new_daemon: NewDaemon) -> Daemon:
    """A daemon started by a tidy and by a careless parent."""
    careless = [sys.executable, "-I", "-S", "-c", LAUNCHER]
    return new_daemon(launcher=careless if request.param == "careless" else ())


@pytest.fixture(autouse=True)
def only_root_changes_users(request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params.get("user") and os.geteuid() and "CI" not in os.environ:
        pytest.skip("only root can start a child as another user")


def seen(client: httpx.Client, *, tty: bool, user: str | None) -> tuple[list[str], dict[str, str]]:
    """Descriptors, by what they lead to, and the lines of /proc/self/status."""
    session = start(client, "sh", "-c", LOOK, tty=tty, user=user, cwd="/", stdin="pipe")
    assert ended(client, session["id"])["exit_code"] == 0
    lines = output(client, session["id"]).decode().replace("\r", "").splitlines()
    descriptors = [line for line in lines if ":\t" not in line and ": " not in line]
    pairs = (line.partition(":") for line in lines if ":\t" in line or ": " in line)
    return descriptors, {name: value.strip() for name, _, value in pairs}


@pytest.mark.parametrize("user", [None, "nobody"])
@pytest.mark.parametrize("tty", [False, True])
def test_a_child_has_three_descriptors_clean_signals_and_its_users_groups(
    started_by: Daemon, user: str | None, *, tty: bool
) -> None:
    with started_by.client() as client:
        descriptors, status = seen(client, tty=tty, user=user)
    kinds = {target.partition(":[")[0].rstrip("0123456789") for target in descriptors[:3]}
    assert kinds == ({"/dev/pts/"} if tty else {"pipe"})
    assert len(descriptors) == 3
    assert int(status["SigBlk"], 16) == int(status["SigCgt"], 16) == 0
    assert int(status["SigIgn"], 16) & ~GLIBC_OWN == 0
    assert status["Umask"] == "0022"
    assert status["Soft"] == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    assert_user(status, user)


def assert_user(status: dict[str, str], user: str | None) -> None:
    """IDs and groups are the user's; another user's process has no way back."""
    entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid) if user else os.getgroups()
    assert status["Uid"].split() == [str(entry.pw_uid)] * 4
    assert {int(word) for word in status["Groups"].split()} == set(groups)
    if user:
        assert status["Gid"].split() == [str(entry.pw_gid)] * 4
        assert grp.getgrgid(entry.pw_gid).gr_gid == entry.pw_gid
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_a_child_leads_its_own_session_and_has_the_folder_asked_for(started_by: Daemon) -> None:
    script = "cut -d ' ' -f 1,5,6 /proc/$$/stat; pwd; echo $$"
    with started_by.client() as client:
        session = start(client, "sh", "-c", script, cwd="/usr/bin")
        ended(client, session["id"])
        ids, folder, pid = output(client, session["id"]).decode().splitlines()
    assert ids.split() == [pid] * 3
    assert pid == str(session["pid"])
    assert folder == "/usr/bin"

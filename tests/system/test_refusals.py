"""Places and moments at which no daemon can serve: said in words, with the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.asking import get, start
from tests.system.conftest import NewDaemon
from tests.system.daemon import PATIENCE_S, Daemon
from tests.system.hold_command import HOLD

DAEMON = (sys.executable, "-P", "-m", "api")
FUSE_ROOT = Path(__file__).with_name("fuse_root.py")
HUGE = 'mount -t hugetlbfs none "$0" && exec "$@"'
AT_ONCE = 8


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / "s" / "sessions").mkdir(parents=True)
    return tmp_path / "s"


@pytest.fixture(params=["fuse", "hugetlbfs"])
def mounted(request: pytest.FixtureRequest, state_dir: Path) -> tuple[list[str], str]:
    """A command that runs another where output would lie on such a file system; words expected."""
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("mounting needs root")
    sessions = str(state_dir / "sessions")
    if request.param == "fuse":
        serve = [sys.executable, str(FUSE_ROOT), sessions]
        return ["unshare", "-m", *serve], "fuse is a network or user-space file system"
    return ["unshare", "-m", "sh", "-c", HUGE, sessions], "splice from a pipe to a file"


def run(argv: list[str], state_dir: Path) -> tuple[int, str]:
    environment = Daemon(state_dir, tcp=None, environment={}).environment
    done = subprocess.run(
        argv, env=environment, cwd="/", capture_output=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stderr.decode()


def test_a_state_directory_that_cannot_carry_output_is_refused_in_words(
    mounted: tuple[list[str], str], state_dir: Path
) -> None:
    launcher, words = mounted
    code, said = run([*launcher, *DAEMON], state_dir)
    assert code == 1
    assert said.startswith("holdfastd: ")
    assert words in said
    assert "HOLDFAST_STATE_DIR=" in said
    assert not (state_dir / "run" / "keeper.sock").exists()


def test_a_command_says_why_its_daemon_was_refused(
    mounted: tuple[list[str], str], state_dir: Path
) -> None:
    launcher, words = mounted
    code, said = run([*launcher, HOLD, "ls"], state_dir)
    assert code == 69
    assert words in said
    assert "HOLDFAST_STATE_DIR=" in said


def test_of_many_daemons_at_once_on_one_state_directory_one_serves(
    new_daemon: NewDaemon,
) -> None:
    daemon = new_daemon()
    with daemon.client() as client:
        made = start(client, "sleep", "1000", id="s")
    daemon.terminate()
    started = [
        subprocess.Popen(
            [*DAEMON, "--foreground"], env=daemon.environment, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for _ in range(AT_ONCE)
    ]  # fmt: skip
    serving = daemon.wait_answering()["pid"]
    for process in started:
        if process.pid != serving:
            said = process.communicate(timeout=PATIENCE_S)[1].decode()
            assert process.returncode == 1
            assert "another daemon (pid " in said
    with daemon.client() as client:
        assert get(client, "s")["pid"] == made["pid"]
    daemon.terminate()
    (one,) = [process for process in started if process.pid == serving]
    one.communicate(timeout=PATIENCE_S)
    assert one.returncode == 0

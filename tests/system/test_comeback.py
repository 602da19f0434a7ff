"""The daemon's comeback: by itself after a kill, never after a shutdown; and after a logout."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.leaks import processes_naming
from tests.system.asking import ended, get, output, printed, start
from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon, pidfd_of, readable
from tests.system.hold_command import Hold
from tests.system.processes import children, command_of, until

MUCH = 4 << 20
PRINT_MUCH = f"import os\nos.write(1, b'up\\n')\ninput()\nos.write(1, b'x' * {MUCH})\n"
"""After a line of input it prints more than a pipe holds: it ends only when somebody reads."""
CROWD = 1000


def serving(daemon: Daemon) -> int:
    """The pid in the lock file."""
    return int((daemon.state_dir / "lock").read_text() or 0)


def test_killed_it_reads_on_with_nobody_asking_for_anything(daemon: Daemon, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with daemon.client() as client:
        script = f'exec {sys.executable} -c "$0" < {fifo}'
        made = start(client, "sh", "-c", script, PRINT_MUCH, id="s")
        with fifo.open("w") as stdin, pidfd_of(made["pid"]) as child:
            printed(client, "s", "^up$")
            daemon.kill9()
            stdin.write("go\n")
            stdin.flush()
            assert readable(child), "nobody read the child's pipe"
    daemon.wait_answering()
    with daemon.client() as client:
        assert ended(client, "s")["exit_code"] == 0
        assert output(client, "s") == b"up\n" + b"x" * MUCH


def test_shut_down_it_stays_away_until_a_command_is_typed(daemon: Daemon) -> None:
    hold = Hold(daemon.environment)
    kept = hold.start("--name", "kept", "--", "sleep", "1000")
    pids = [hold.json("inspect", hold.start("--", "sleep", "1000"))["pid"] for _ in range(2)]
    keeper, first = daemon.keeper_pid(), daemon.pid
    with pidfd_of(keeper) as keeper_pidfd:
        assert hold("shutdown").returncode == 0
        # The keeper heard of the daemon's end before it reaps the first of these, and would have
        # started another before it reaps the second.
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            wait_reaped(pid)
        assert not [pid for pid in children(keeper) if "-m api" in command_of(pid)]
        assert serving(daemon) == first
        assert hold("--no-autostart", "ls").returncode == 69
        signal.pidfd_send_signal(keeper_pidfd, 0)
    states = {row["id"]: row["state"] for row in hold.json("ls", "-a")}
    assert states[kept] == "running"
    assert sorted(states.values()) == ["exited", "exited", "running"]
    node = daemon.wait_answering()
    assert node["keeper"]["pid"] == keeper
    assert node["pid"] != first


def wait_reaped(pid: int) -> None:
    until(lambda: not Path(f"/proc/{pid}").exists(), f"{pid} is reaped")


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for sockets that a logout removes; its path is short enough for one."""
    return Path(mkdtemp(prefix="h", dir=tmp_path_factory.getbasetemp())) / "user"


def log_out(runtime: Path, daemon: Daemon) -> None:
    """What a logout does to the runtime directory, and a cleaner to the other socket."""
    shutil.rmtree(runtime)
    (daemon.state_dir / "run" / "keeper.sock").unlink(missing_ok=True)


def test_after_a_logout_ls_and_attach_still_work(new_daemon: NewDaemon, runtime: Path) -> None:
    daemon = new_daemon(environment={"HOLDFAST_RUNTIME_DIR": str(runtime)})
    hold = Hold(daemon.environment)
    session = hold.start("-t", "--", "sh", "-c", "echo here; read x; echo there; exit 3")
    log_out(runtime, daemon)
    assert [row["id"] for row in hold.json("ls")] == [session]
    log_out(runtime, daemon)
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("here")
        terminal.until_raw()
        terminal.type(b"x\r")
        terminal.until("there")
        assert terminal.wait() == 3
    assert daemon.wait_answering()["pid"] == daemon.pid == serving(daemon)
    until(lambda: not autostarted(daemon), "the end of daemons that found the lock held")


def autostarted(daemon: Daemon) -> list[int]:
    """Daemons that commands started because no socket was there; the lock ends them."""
    naming = processes_naming(daemon.state_dir.parent)
    return [pid for pid in naming if "holdfastd --autostarted" in command_of(pid)]


def test_after_a_logout_and_a_kill_the_sessions_are_there(
    new_daemon: NewDaemon, runtime: Path
) -> None:
    daemon = new_daemon(environment={"HOLDFAST_RUNTIME_DIR": str(runtime)})
    keeper = daemon.keeper_pid()
    with daemon.client() as client:
        made = start(client, "sleep", "1000", id="s")
    log_out(runtime, daemon)
    daemon.kill9()
    assert daemon.wait_answering()["keeper"]["pid"] == keeper
    with daemon.client() as client:
        found = get(client, "s")
    assert (found["state"], found["pid"]) == ("running", made["pid"])


@pytest.mark.timeout(240)
def test_a_thousand_live_sessions_are_all_there_after_a_kill(daemon: Daemon) -> None:
    with daemon.client() as client, ThreadPoolExecutor(8) as threads:
        create = partial(start, client, "sleep", "100000")
        made = {one["id"]: one["pid"] for one in threads.map(lambda _: create(), range(CROWD))}
    assert len(made) == len(set(made.values())) == CROWD
    daemon.kill9()
    daemon.wait_answering()
    found = every_session(daemon)
    assert {one["id"]: one["pid"] for one in found} == made
    assert {(one["state"], one["generation"]) for one in found} == {("running", 1)}
    assert all("sleep 100000" in command_of(pid) for pid in made.values())


def every_session(daemon: Daemon) -> list[dict[str, Any]]:
    """All pages of the list."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 500}
    with daemon.client() as client:
        while query.get("cursor", "first"):
            page = client.get("/v1/sessions", params=query).raise_for_status().json()
            found += page["items"]
            query["cursor"] = page["next_cursor"]
    return found

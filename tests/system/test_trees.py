"""Stop means stopped: no process of a tree is left, whatever the tree does about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.asking import ended, get, output, printed, start, wait
from tests.system.daemon import Daemon
from tests.system.processes import lives, running_with

TREE = """
import os, signal
reader, writer = os.pipe()
def stay():
    os.write(writer, b"%d " % os.getpid())
    signal.pause()
def child(then):
    if not os.fork():
        then()
        os._exit(0)
def twice(then):
    os.setsid()
    child(then)
def scrubbed():
    os.setsid()
    os.write(writer, b"%d " % os.getpid())
    os.execve("/bin/sleep", ["sleep", "1000"], {})
child(lambda: (os.setpgid(0, 0), stay()))
child(lambda: (os.setsid(), stay()))
child(lambda: twice(stay))
child(lambda: twice(scrubbed))
pids = b"%d " % os.getpid()
while pids.count(b" ") < 5:
    pids += os.read(reader, 4096)
os.write(1, b"tree " + pids + b"\\n")
signal.pause()
"""
"""A leader, its own group, its own session, a double fork, and a double fork with its own session
and an empty environment. The leader prints their pids once all are there."""

CHAINS = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(8):
    if not os.fork():
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
os.write(1, b"running\\n")
os.read(0, 1)
"""
"""Eight processes that go on forking themselves and ending, each time under a new pid."""

PRINTING_GRANDCHILD = "trap '' TERM HUP; (while :; do echo noise; done) & exit 3"


def start_tree(client: httpx.Client, **spec: Any) -> list[int]:
    """Start the tree of five; its pids."""
    start(client, sys.executable, "-I", "-S", "-c", TREE, id="tree", **spec)
    line: str = wait(client, "tree", {"log": "^tree "})["evidence"]["line"]
    pids = [int(word) for word in line.split()[1:]]
    assert len(pids) == 5
    assert all(lives(pid) for pid in pids)
    return pids


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_none_of_a_tree_of_five_is_left(contained: Daemon, verb: str) -> None:
    with contained.client() as client:
        pids = start_tree(client)
        assert get(client, "tree")["usage"]["processes"] == 5
        receipt = client.post(f"/v1/sessions/tree/{verb}", json={}).json()
        assert receipt["state"] == "done"
        assert receipt["effect"]["tree_gone"] is True
        assert not [pid for pid in pids if lives(pid)]
        over = get(client, "tree")
        assert (over["state"], over["survivors"]) == ("exited", [])


def test_what_outlives_the_leader_is_killed_with_it(contained: Daemon) -> None:
    with contained.client() as client:
        pids = start_tree(client)
        client.post("/v1/sessions/tree/signal", json={"signal": "KILL"})
        over = ended(client, "tree")
        assert (over["outcome"], over["signal"]) == ("killed", "SIGKILL")
        assert not [pid for pid in pids if lives(pid)]


def test_none_of_a_tree_of_five_is_left_after_a_kill_of_the_daemon(contained: Daemon) -> None:
    with contained.client() as client:
        pids = start_tree(client)
    contained.kill9()
    contained.wait_answering()
    with contained.client() as client:
        assert get(client, "tree")["usage"]["processes"] == 5
        receipt = client.post("/v1/sessions/tree/stop", json={}).json()
        assert receipt["effect"]["tree_gone"] is True
    assert not [pid for pid in pids if lives(pid)]


def test_chains_that_fork_without_end_and_ignore_the_stop_are_killed_after_the_grace(
    contained: Daemon, tmp_path: Path
) -> None:
    mark = str(tmp_path)
    with contained.client() as client:
        argv = [sys.executable, "-I", "-S", "-c", CHAINS, mark]
        start(client, *argv, id="chains", stdin="pipe")
        printed(client, "chains", "^running$")
        assert running_with(mark)
        receipt = client.post("/v1/sessions/chains/stop", json={"grace": 0.2}).json()
        assert receipt["effect"]["tree_gone"] is True
        assert running_with(mark) == []
        over = get(client, "chains")
        assert (over["signal"], over["survivors"]) == ("SIGKILL", [])
        assert over["output"]["complete"]  # the kernel says that nobody holds its pipe


def test_a_session_ends_though_a_grandchild_holds_its_pipe_and_prints_for_ever(
    contained: Daemon, tmp_path: Path
) -> None:
    mark = str(tmp_path)
    with contained.client() as client:
        start(client, "sh", "-c", PRINTING_GRANDCHILD, mark, id="noisy")
        over = ended(client, "noisy")
        assert (over["outcome"], over["exit_code"]) == ("exited", 3)
        assert over["survivors"] == []
        assert running_with(mark) == []


def test_kept_leftovers_live_on_until_they_are_killed(contained: Daemon) -> None:
    with contained.client() as client:
        script = "sleep 1000 & echo $!; exit 3"
        start(client, "sh", "-c", script, id="kept", leftovers="keep")
        over = ended(client, "kept")
        assert (over["exit_code"], over["output"]["complete"]) == (3, False)
        left = int(output(client, "kept"))
        assert lives(left)
        receipt = client.post("/v1/sessions/kept/kill", json={}).json()
        assert receipt["effect"]["tree_gone"] is True
        assert not lives(left)

"""SIGKILL of the keeper: sessions go on, ends are known or said to be lost, new ones start."""

from __future__ import annotations

import os
import platform
import signal
from typing import Any

import httpx

from tests.system.asking import ended, get, printed, start, type_in, wait
from tests.system.daemon import Daemon, pidfd_of, readable
from tests.system.processes import all_gone, lives, until

ECHO = ("sh", "-c", 'echo up; while read line; do echo "got $line"; done; exit 7')
TREE = ("sh", "-c", "setsid sleep 1000 & echo $! up; exec sleep 1000")


def kill_keeper(daemon: Daemon, client: httpx.Client) -> None:
    """SIGKILL the keeper, and wait until the daemon has another."""
    keeper = daemon.keeper_pid()
    with pidfd_of(keeper) as pidfd:
        os.kill(keeper, signal.SIGKILL)
        assert readable(pidfd)
    until(lambda: node(client)["keeper"]["pid"] not in (None, keeper), "a new keeper")


def node(client: httpx.Client) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/v1/node").raise_for_status().json()
    return told


def ready(client: httpx.Client) -> tuple[int, list[str]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["degraded"]


def test_sessions_go_on_and_new_ones_start_without_their_keeper(contained: Daemon) -> None:
    with contained.client() as client:
        session = start(client, *ECHO, id="old", stdin="pipe")
        printed(client, "old", "^up$")
        kill_keeper(contained, client)
        assert get(client, "old")["pid"] == session["pid"]
        assert ready(client) == (200, ["keeper_died"])
        type_in(client, "old", b"one\n")
        printed(client, "old", "^got one$")
        start(client, *ECHO, id="new", stdin="pipe")
        printed(client, "new", "^up$")
        client.post("/v1/sessions/old/input", params={"close": "true"})
        over = ended(client, "old")
        assert_status_or_lost(contained, over, 7)
        assert over["output"]["complete"]
        assert ready(client) == (200, [])
        client.post("/v1/sessions/new/input", params={"close": "true"})
        assert ended(client, "new")["exit_code"] == 7


def assert_status_or_lost(daemon: Daemon, session: dict[str, Any], code: int) -> None:
    """A shim was told it as parent; of an orphan it is kept for pidfds since Linux 6.15."""
    kernel = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    with daemon.client() as client:
        known = node(client)["containment"] == "shim" or kernel >= (6, 15)
    if known:
        assert (session["outcome"], session["exit_code"]) == ("exited", code)
    else:
        assert (session["outcome"], session["exit_code"]) == ("lost", None)
        assert session["outcome_detail"] == {"reason": "keeper_died"}


def test_a_whole_tree_is_killed_without_its_keeper(contained: Daemon) -> None:
    with contained.client() as client:
        session = start(client, *TREE, id="old")
        told = wait(client, "old", {"log": r"^\d+ up$"})
        pids = [session["pid"], int(told["evidence"]["line"].split()[0])]
        kill_keeper(contained, client)
        receipt = client.post("/v1/sessions/old/kill", json={}).json()
        assert (receipt["state"], receipt["effect"]["tree_gone"]) == ("done", True)
        assert not [pid for pid in pids if lives(pid)]
        over = get(client, "old")
        assert (over["outcome"], over["exit_code"]) == ("killed", 137)
        assert ready(client) == (200, [])


def test_a_daemon_killed_before_they_ended_says_they_are_lost_and_leaves_none(
    contained: Daemon,
) -> None:
    with contained.client() as client:
        session = start(client, *TREE, id="old")
        told = wait(client, "old", {"log": r"^\d+ up$"})
        pids = [session["pid"], int(told["evidence"]["line"].split()[0])]
        kill_keeper(contained, client)
        new = start(client, "sleep", "1000", id="new")
    contained.kill9()
    contained.wait_answering()
    with contained.client() as client:
        lost = get(client, "old")
        assert (lost["state"], lost["outcome"], lost["exit_code"]) == ("lost", "lost", None)
        assert lost["outcome_detail"] == {"reason": "keeper_died"}
        assert "keeper" in lost["message"]
        assert lost["survivors"] == []
        assert all_gone(pids)
        kept = get(client, "new")
        assert (kept["state"], kept["pid"]) == ("running", new["pid"])
        assert ready(client) == (200, [])

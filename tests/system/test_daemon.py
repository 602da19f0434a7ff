"""The daemon as a process: its start, its ends, and what it refuses in words."""

from __future__ import annotations

from tests.system.daemon import Daemon


def test_it_answers_and_says_what_it_listens_on(daemon: Daemon) -> None:
    with daemon.client() as client:
        node = client.get("/v1/node").json()
    assert node["pid"] == daemon.pid
    assert node["listeners"] == daemon.listeners == [f"unix:{daemon.socket}"]


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

"""One look at many trees, of this process as the only member of one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from supervisor import sampler
from supervisor.sampler import REFRESH_S, Sampler, look_at
from supervisor.sock_diag import Sockets

ME = "/me"
NOBODY = "/nobody"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which trees' members were visited."""
    visited: list[str] = []

    def members(root: str) -> list[int]:
        visited.append(root)
        return [os.getpid()] if root == ME else []

    monkeypatch.setattr(sampler, "members_of", members)
    return visited


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def table(*servers: socket.socket) -> Sockets:
    return {os.fstat(one.fileno()).st_ino: one.getsockname()[:2] for one in servers}


TREES = {"a": ME, "b": NOBODY}


def test_a_listener_is_its_trees_and_nobody_elses(passes: list[str], server: socket.socket) -> None:
    look = Sampler(lambda: table(server)).look(TREES)
    port = server.getsockname()[1]
    assert look.ports == {"a": {(port, "127.0.0.1"): os.getpid()}, "b": {}}
    assert look.usage == {}
    assert passes == [ME, NOBODY]


def test_nothing_is_visited_while_nothing_changed(passes: list[str], server: socket.socket) -> None:
    found = Sampler(lambda: table(server))
    found.look(TREES)
    passes.clear()
    assert found.look(TREES).ports is None
    assert passes == []


def test_without_listeners_nothing_is_visited_at_all(passes: list[str]) -> None:
    assert Sampler(dict).look(TREES).ports == {"a": {}, "b": {}}
    assert passes == []


def test_another_listener_brings_another_pass(passes: list[str], server: socket.socket) -> None:
    sockets: Sockets = {}
    found = Sampler(lambda: dict(sockets))
    found.look(TREES)
    sockets |= table(server)
    look = found.look(TREES)
    assert look.ports is not None
    assert len(look.ports["a"]) == 1
    sockets.clear()
    assert found.look(TREES).ports == {"a": {}, "b": {}}


def test_a_holder_that_closed_its_socket_is_noticed_though_the_table_is_the_same(
    passes: list[str], server: socket.socket
) -> None:
    sockets = table(server)
    found = Sampler(lambda: sockets)
    found.look(TREES)
    server.close()
    assert found.look(TREES).ports == {"a": {}, "b": {}}


def test_what_changed_hands_unseen_is_found_after_a_while(
    passes: list[str], server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Sampler(lambda: table(server))
    found.look(TREES)
    began = found._refresh_at_s - REFRESH_S
    monkeypatch.setattr("supervisor.sampler.time.monotonic", lambda: began + REFRESH_S)
    assert found.look(TREES).ports is not None


def test_usage_is_of_all_trees_and_leaves_ports_alone(
    passes: list[str], server: socket.socket
) -> None:
    found = Sampler(lambda: table(server))
    found.look(TREES)
    look = found.look(TREES, usage=True)
    assert look.ports is None
    assert {key: used.processes for key, used in look.usage.items()} == {"a": 1, "b": 0}


def test_a_tree_that_went_away_is_let_go_of(passes: list[str], server: socket.socket) -> None:
    sockets = table(server)
    found = Sampler(lambda: sockets)
    found.look(TREES)
    server.close()
    assert found.look({"b": NOBODY}).ports is None


def test_a_look_at_one_tree_remembers_nothing(passes: list[str], server: socket.socket) -> None:
    ports, used = look_at(ME)
    assert ports[server.getsockname()[1], "127.0.0.1"] == os.getpid()
    assert used.processes == 1


def test_a_refused_table_is_an_error(passes: list[str]) -> None:
    def refused() -> Sockets:
        raise PermissionError

    with pytest.raises(PermissionError):
        Sampler(refused).look(TREES)

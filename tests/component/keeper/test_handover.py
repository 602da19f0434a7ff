"""One daemon after the other, the same children; and the keeper's own death."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from supervisor.keeper import wire
from supervisor.keeper.client import KeeperClient, KeeperError, KeeperGone, SpawnRequest
from supervisor.keeper.containment import exit_status_of
from supervisor.keeper.shims import IDLE
from tests.component.keeper.post import (
    ENV,
    PATIENCE_S,
    Post,
    process_ended,
    read_lines,
    readable,
    soon,
)


async def test_the_next_daemon_gets_the_same_children(post: Post) -> None:
    pipe = await post.sh("pipe", "echo before; read line; echo $line; exit 7", stdin="pipe")
    tty = await post.sh("tty", "echo before; sleep 1000", tty=True)
    post.client.close()
    pids = (pipe.pid, tty.pid)
    post.close_held()
    await post.connect()
    found = {held.session: held for held in await post.children()}
    assert (found["pipe"].pid, found["tty"].pid) == pids
    assert await read_lines(found["pipe"].stdout, 1) == ["before"]
    assert await read_lines(found["tty"].master, 1) == ["before"]
    assert found["tty"].relay is not None
    assert found["tty"].input_relay is not None
    assert found["pipe"].stdin is not None
    os.write(found["pipe"].stdin, b"after\n")
    assert await read_lines(found["pipe"].stdout, 1) == ["after"]
    assert await post.exit_of("pipe") == 7 << 8


async def test_a_child_that_ended_between_two_daemons_has_its_status(post: Post) -> None:
    held = await post.sh("ended", "exit 9")
    post.client.close()
    await readable(held.pidfd)
    await post.connect()
    (found,) = await post.children()
    status = found.status if found.status is not None else await post.exit_of("ended")
    assert status == 9 << 8


async def test_bytes_between_master_and_file_wait_for_the_next_daemon(post: Post) -> None:
    held = await post.sh("tty", "sleep 1000", tty=True)
    assert held.relay is not None
    os.write(held.relay[1], b"in between")
    post.client.close()
    post.close_held()
    await post.connect()
    (found,) = await post.children()
    assert found.relay is not None
    assert os.read(found.relay[0], 100) == b"in between"


async def test_many_children_are_handed_over_in_several_messages(post: Post) -> None:
    for number in range(70):
        await post.sh(f"s{number}", "sleep 1000", tty=number % 2 == 0)
    found = await post.children()
    assert sorted(held.session for held in found) == sorted(f"s{n}" for n in range(70))
    for held in found:
        assert (held.master is None) == (held.stdout is not None)


async def test_a_second_daemon_is_answered_only_after_the_first_has_gone(post: Post) -> None:
    second = asyncio.create_task(
        KeeperClient.connect(
            post.socket, respawn=None, on_exited=lambda *_: None, on_gone=lambda: None
        )
    )
    await post.sh("a", "exit 0")  # a whole round trip, and more, while it waits
    assert await post.exit_of("a") == 0
    assert not second.done()
    post.client.close()
    client = await soon(second)
    assert client.pid == post.client.pid
    client.close()


async def test_a_connecter_that_gives_up_leaves_no_trace(post: Post) -> None:
    with pytest.raises(TimeoutError):
        await KeeperClient.connect(
            post.socket, respawn=None, on_exited=lambda *_: None, on_gone=lambda: None, timeout=0.01
        )
    post.client.close()
    await post.connect()


async def test_a_daemon_that_reads_nothing_does_not_stall_the_keeper(post: Post) -> None:
    """Requests are sent until the socket is full, and no answer is taken."""
    await post.sh("one", "sleep 1000", tty=True)
    sock = post.client._sock
    asyncio.get_running_loop().remove_reader(sock.fileno())
    sent = 0
    while True:
        try:
            wire.send(sock, {"ref": 10_000 + sent, "verb": "list"})
        except BlockingIOError:
            break
        sent += 1
    assert sent
    post.client.close()
    await post.connect()
    assert len(await post.children()) == 1


async def test_a_cancelled_spawn_leaves_no_descriptor_here(post: Post) -> None:
    request = SpawnRequest("gone", 1, ("sleep", "1000"), ENV, "/")
    asked = asyncio.create_task(post.client.spawn(request))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    held = await post.ask(request)
    assert [each.pid for each in await post.children()] == [held.pid]


async def test_malformed_requests_are_answered_and_the_keeper_lives_on(post: Post) -> None:
    requests: list[tuple[str, dict[str, object]]] = [
        ("no such verb", {}),
        ("spawn", {"session": "x"}),
        ("spawn", {"session": "x", "generation": 1, "argv": 3}),
        ("signal", {"session": "x", "generation": 1, "signum": 1, "target": "leader"}),
        ("hello", {"versions": [99], "respawn": None}),
    ]
    for verb, fields in requests:
        with pytest.raises((OSError, KeeperError)) as refused:
            await post.client._ask(verb, **fields)
        assert not isinstance(refused.value, KeeperGone)
    assert await post.children() == []
    await post.client.drop("never", 1)  # idempotent


async def test_a_daemon_of_an_unknown_version_is_refused_in_words(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.client.close()
    monkeypatch.setattr(wire, "UNDERSTOOD", (99,))
    with pytest.raises(KeeperGone, match="no common version"):
        await post.connect()
    monkeypatch.undo()
    await post.connect()


async def test_the_status_of_a_killed_keepers_child_is_found_through_its_pidfd(
    post: Post,
) -> None:
    held = await post.sh("orphan", "read line; exit 33", stdin="pipe")
    assert exit_status_of(held.pidfd, held.pid) is None
    os.kill(post.client.pid, signal.SIGKILL)
    await soon(post.gone.wait())
    with pytest.raises(KeeperGone):
        await post.client.list()
    assert held.stdin is not None
    os.write(held.stdin, b"\n")
    await readable(held.pidfd)
    assert exit_status_of(held.pidfd, held.pid) == 33 << 8


async def test_a_killed_keepers_tree_is_killed_by_what_the_daemon_holds(post: Post) -> None:
    held = await post.sh("orphan", "setsid sleep 1000 & echo $!; sleep 1000")
    (member,) = await read_lines(held.stdout, 1)
    os.kill(post.client.pid, signal.SIGKILL)
    await soon(post.gone.wait())
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    await process_ended(int(member))
    assert held.containment.pids() == []
    assert held.containment.leader_status() in (None, signal.SIGKILL)


async def test_a_new_keeper_starts_beside_the_children_of_a_killed_one(post: Post) -> None:
    held = await post.sh("old", "sleep 1000")
    former = post.client.keeper_id
    os.kill(post.client.pid, signal.SIGKILL)
    await soon(post.gone.wait())
    await post.start()
    await post.connect()
    assert post.client.keeper_id != former
    await post.sh("new", "exit 4")
    assert await post.exit_of("new") == 4 << 8
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)


async def test_the_keeper_stays_when_it_is_told_to_terminate(post: Post) -> None:
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(post.client.pid, signum)
    await post.sh("after", "exit 0")
    assert await post.exit_of("after") == 0


async def test_the_keeper_gives_back_every_descriptor(post: Post) -> None:
    fds = f"/proc/{post.client.pid}/fd"
    before = len(os.listdir(fds))  # noqa: PTH208 - a count
    for number in range(200):
        session = f"s{number}"
        held = await post.sh(session, "exit 0", tty=number % 2 == 0, stdin="pipe")
        assert await post.exit_of(session) == 0
        held.close()
        post.all_held.clear()
        await post.client.drop(session, 1)
    # The spare comes and goes with one descriptor, and so does each idle shim.
    ahead = 1 if post.containment == "cgroup" else IDLE
    assert abs(len(os.listdir(fds)) - before) <= ahead  # noqa: PTH208 - a count

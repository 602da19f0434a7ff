"""Starting the keeper, and the keeper starting a daemon again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.keeper import lock
from supervisor.keeper.client import KeeperClient, KeeperGone, Respawn, start_keeper
from supervisor.keeper.tree import children_of
from tests.component.keeper.post import ENV, Post, process_ended, read_some, readable


async def test_of_many_starters_at_once_one_keeper_stays(tmp_path: Path) -> None:
    post = Post(tmp_path, "auto")
    await asyncio.gather(*(post.start() for _ in range(8)))
    await post.connect()
    first = post.client.pid
    post.client.close()
    await post.start()
    await post.connect()
    assert post.client.pid == first
    await post.finish()


async def test_a_keeper_whose_socket_was_removed_binds_it_again(post: Post) -> None:
    await post.sh("stays", "sleep 1000")
    keeper = post.client.pid
    post.socket.unlink()
    post.client.close()
    await post.start()
    await post.connect()
    assert post.client.pid == keeper
    assert len(await post.children()) == 1


async def test_a_keeper_whose_lock_was_removed_is_found_and_locks_again(post: Post) -> None:
    await post.sh("stays", "sleep 1000")
    keeper = post.client.pid
    (post.run_dir / "keeper.lock").unlink()
    await post.start()
    post.client.close()
    await post.connect()
    assert post.client.pid == keeper
    assert lock.holder(str(post.run_dir / "keeper.lock")) == keeper


async def test_no_signal_but_kill_ends_the_keeper(post: Post) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(post.client.pid, number)
    assert await post.children() == []


async def test_a_socket_bound_again_waits_for_the_end_of_the_daemon(post: Post) -> None:
    post.socket.unlink()
    os.kill(post.client.pid, signal.SIGHUP)
    assert await post.children() == []
    await post.start()
    assert await post.children() == []
    assert not post.gone.is_set()


async def test_the_keeper_tells_where_its_cgroups_are(post: Post) -> None:
    held = await post.sh("inside", "sleep 1000")
    path = held.containment.describe()["cgroup"]
    assert post.client.cgroup_base == (os.path.dirname(path) if path else None)  # noqa: PTH120
    if path:
        assert path.split("/")[-2] == f"holdfast-{post.client.keeper_id}"


async def test_the_socket_is_only_for_its_owner(post: Post) -> None:
    assert post.socket.stat().st_mode & 0o777 == 0o600


async def test_the_keeper_takes_nothing_of_its_starter_along(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)  # noqa: FBT003 - the one argument
    post = Post(tmp_path, "auto")
    await post.start()
    await post.connect()
    os.close(theirs)
    assert await read_some(ours) == b""
    os.close(ours)
    proc = Path(f"/proc/{post.client.pid}")
    assert (proc / "environ").read_bytes() == b"LANG=C.UTF-8\0"
    assert (proc / "cwd").readlink() == Path("/")
    assert {(proc / f"fd/{fd}").readlink() for fd in range(3)} == {Path("/dev/null")}
    assert os.getsid(post.client.pid) not in (os.getsid(0), post.client.pid)
    await post.finish()


async def test_a_keeper_that_cannot_start_says_where_the_reason_is(tmp_path: Path) -> None:
    (tmp_path / "keeper.sock").mkdir()
    with pytest.raises(KeeperGone, match=r"keeper\.log"):
        await start_keeper(tmp_path)
    assert "IsADirectoryError" in (tmp_path / "keeper.log").read_text()


async def test_no_keeper_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(KeeperGone, match="no keeper answers"):
        await KeeperClient.connect(
            tmp_path / "keeper.sock",
            respawn=None,
            on_exited=lambda *_: None,
            on_gone=lambda: None,
        )


def names_of(pids: list[int]) -> set[str]:
    """Names of the programs that run under these pids."""
    return {Path(f"/proc/{pid}/comm").read_text() for pid in pids}


@pytest.fixture
async def herald(tmp_path: Path) -> AsyncIterator[tuple[Respawn, int]]:
    """A daemon that writes a line into a fifo when it is started, and the fifo's read end."""
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    script = f'exec > {fifo}; ls /proc/self/fd | tr "\\n" " "; echo $MARK'
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield Respawn(("/bin/sh", "-c", script), {**ENV, "MARK": "herald"}), reading
    os.close(reading)


async def test_a_daemon_that_ends_without_bye_is_started_again(
    post: Post, herald: tuple[Respawn, int]
) -> None:
    respawn, started = herald
    post.client.close()
    await post.connect(respawn)
    post.client.close()
    await readable(started)
    line = b""
    while not line.endswith(b"\n"):
        line += await read_some(started)
    assert line == b"0 1 2 3 herald\n"  # 3 is the folder that ls reads
    await post.connect()


async def test_a_daemon_that_keeps_ending_is_started_again_and_again(
    post: Post, tmp_path: Path
) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    post.client.close()
    await post.connect(Respawn(("/bin/sh", "-c", f"echo again > {fifo}"), ENV))
    post.client.close()
    line = b""
    while line != b"again\n" * 2:
        await readable(reading)
        line += os.read(reading, 100)
    os.close(reading)
    await post.connect()


async def test_a_daemon_that_said_bye_is_not_started_again(
    post: Post, herald: tuple[Respawn, int]
) -> None:
    respawn, started = herald
    post.client.close()
    await post.connect(respawn)
    await post.client.bye()
    post.client.close()
    await post.connect()  # answered after the end was dealt with: attempt 0 would have been made
    assert await post.children() == []
    assert "sh\n" not in names_of(children_of(post.client.pid))
    assert os.read(started, 1) == b""


async def test_bye_ends_a_started_daemon_that_has_not_connected_yet(
    post: Post, tmp_path: Path
) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    post.client.close()
    await post.connect(Respawn(("/bin/sh", "-c", f"echo $$ > {fifo}; exec sleep 1000"), ENV))
    post.client.close()
    await readable(reading)
    late = int(os.read(reading, 100))
    os.close(reading)
    await post.connect()
    await post.client.bye()
    await process_ended(late)


async def test_the_keeper_ends_when_asked_and_empty(tmp_path: Path) -> None:
    post = Post(tmp_path, "auto")
    await post.start()
    await post.connect()
    await post.sh("last", "exit 0")
    await post.client.end()
    assert await post.exit_of("last") == 0
    pid = post.client.pid
    await post.client.drop("last", 1)
    await process_ended(pid)
    assert not post.socket.exists()
    assert not post.gone.is_set()
    post.client.close()
    post.close_held()

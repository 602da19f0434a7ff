"""Kill means the whole tree, with a cgroup and with a shim, whatever the tree does about it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from supervisor.keeper.containment import kill_left_cgroup
from supervisor.keeper.held import Held
from tests.component.keeper.post import (
    PATIENCE_S,
    Post,
    process_ended,
    read_lines,
    read_some,
    read_to_end,
)

TREE = """
import os, signal
def stay():
    os.write(1, b"%d\\n" % os.getpid())
    signal.pause()
def child(then):
    pid = os.fork()
    if not pid:
        then()
        os._exit(0)
    return pid
def twice(then):
    os.setsid()
    child(then)
def scrubbed():
    os.setsid()
    os.write(1, b"%d\\n" % os.getpid())
    os.execve("/bin/sleep", ["sleep", "1000"], {})
child(lambda: (os.setpgid(0, 0), stay()))
child(lambda: (os.setsid(), stay()))
os.waitpid(child(lambda: twice(stay)), 0)
os.waitpid(child(lambda: twice(scrubbed)), 0)
stay()
"""
"""Five processes that print their pid: leader, own group, own session, double fork, and double
fork with its own session and an empty environment."""

CHAINS = """
import os
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


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a line of /proc
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def is_gone(cgroup: str) -> bool:
    return not os.path.exists(cgroup)  # noqa: PTH110 - a name in a system's hierarchy


async def tree_of_five(post: Post) -> tuple[list[int], str]:
    held = await post.spawn("tree", sys.executable, "-I", "-S", "-c", TREE)
    pids = [int(line) for line in await read_lines(held.stdout, 5)]
    return pids, held.session


async def test_no_process_of_a_tree_of_five_survives_a_kill(post: Post) -> None:
    pids, _ = await tree_of_five(post)
    (held,) = await post.children()
    assert sorted(held.containment.pids()) == sorted(pids)
    assert not await held.containment.empty(0)
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert [pid for pid in pids if lives(pid)] == []
    assert held.containment.pids() == []
    assert await post.exit_of("tree") == signal.SIGKILL


async def test_a_kill_while_somebody_waits_for_empty_is_heard_by_both(post: Post) -> None:
    held = await post.sh("waited", "sleep 1000")
    waiting = asyncio.create_task(held.containment.empty(PATIENCE_S))
    await asyncio.sleep(0)
    await held.containment.kill()
    assert await waiting


async def test_the_tree_of_an_ended_leader_is_killed_too(post: Post) -> None:
    pids, _ = await tree_of_five(post)
    (held,) = await post.children()
    await post.client.signal("tree", 1, signal.SIGKILL, "leader")
    assert await post.exit_of("tree") == signal.SIGKILL
    assert len(held.containment.pids()) == 4
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert [pid for pid in pids if lives(pid)] == []


async def test_chains_that_fork_without_end_are_killed(post: Post) -> None:
    held = await post.spawn("chains", sys.executable, "-I", "-S", "-c", CHAINS, stdin="pipe")
    assert await read_lines(held.stdout, 1) == ["running"]
    other = await post.sh("other", "echo served")  # meanwhile the keeper serves others
    assert await read_lines(other.stdout, 1) == ["served"]
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert await read_to_end(held.stdout) == b""  # the kernel says that nobody holds it


async def test_a_signal_reaches_every_member_once(post: Post) -> None:
    pids, _ = await tree_of_five(post)
    (held,) = await post.children()
    assert held.containment.signal(signal.SIGTERM) == 5
    assert await held.containment.empty(PATIENCE_S)
    assert [pid for pid in pids if lives(pid)] == []


async def test_a_signal_reaches_the_leader_or_its_group(post: Post) -> None:
    script = 'trap "echo leader" USR1; (echo up; exec sleep 1000) & echo up; wait; wait'
    held = await post.sh("group", script, stderr="ignore")
    assert await read_lines(held.stdout, 2) == ["up", "up"]
    await post.client.signal("group", 1, signal.SIGUSR1, "leader")
    assert await read_lines(held.stdout, 1) == ["leader"]
    await post.client.signal("group", 1, signal.SIGTERM, "group")
    assert await post.exit_of("group") == signal.SIGTERM
    assert await read_to_end(held.stdout) == b""
    with pytest.raises(ProcessLookupError):
        await post.client.signal("group", 1, signal.SIGTERM, "leader")


async def test_leftovers_live_on_after_drop(post: Post) -> None:
    held = await post.sh("left", "sleep 1000 & echo $!")
    (line,) = await read_lines(held.stdout, 1)
    assert await post.exit_of("left") == 0
    await post.client.drop("left", 1)
    assert await post.children() == []
    assert held.containment.pids() == [int(line)]
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)


@pytest.mark.parametrize("containment", ["shim"])
async def test_a_killed_shim_costs_neither_the_status_nor_the_kill(post: Post) -> None:
    pids, _ = await tree_of_five(post)
    bystander = await post.sh("bystander", "sleep 1000")
    held = next(each for each in await post.children() if each.session == "tree")
    shim = int(held.containment._shim_pid)  # type: ignore[attr-defined]
    os.kill(shim, signal.SIGKILL)
    await process_ended(shim)
    await post.client.signal("tree", 1, signal.SIGTERM, "leader")
    assert await post.exit_of("tree") == signal.SIGTERM
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert [pid for pid in pids if lives(pid)] == []
    assert lives(bystander.pid)


@pytest.mark.parametrize("containment", ["shim"])
async def test_chains_are_killed_after_their_shim(post: Post) -> None:
    held = await post.spawn("chains", sys.executable, "-I", "-S", "-c", CHAINS, stdin="pipe")
    assert await read_lines(held.stdout, 1) == ["running"]
    os.kill(held.containment._shim_pid, signal.SIGKILL)  # type: ignore[attr-defined]
    await process_ended(held.containment._shim_pid)  # type: ignore[attr-defined]
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert await read_to_end(held.stdout) == b""


@pytest.mark.parametrize("containment", ["shim"])
async def test_a_shim_without_keeper_and_daemon_kills_its_tree(post: Post) -> None:
    pids, _ = await tree_of_five(post)
    keeper = post.client.pid
    os.kill(keeper, signal.SIGKILL)
    await process_ended(keeper)
    assert lives(pids[0])
    stdout = os.dup(post.all_held[0].stdout or -1)
    post.client.close()
    post.close_held()
    assert await read_some(stdout) == b""
    os.close(stdout)
    for pid in pids:
        await process_ended(pid)


@pytest.mark.parametrize("containment", ["cgroup"])
async def test_the_cgroup_of_a_killed_keeper_is_killed_by_its_path(post: Post) -> None:
    pids, _ = await tree_of_five(post)
    path = post.all_held[0].containment.describe()["cgroup"]
    keeper = post.client.pid
    os.kill(keeper, signal.SIGKILL)
    await process_ended(keeper)
    assert await kill_left_cgroup(path) == []
    assert [pid for pid in pids if lives(pid)] == []
    with pytest.raises(FileNotFoundError):
        os.stat(path)  # noqa: PTH116 - a name in a system's hierarchy
    assert await kill_left_cgroup(path) == []


NESTING = """
import os, sys
with open("/proc/self/cgroup") as file:
    number = next(line for line in file if line.startswith("0::")).strip().rpartition("/")[2]
own = f"{sys.argv[1]}/{number}"
for name in ("a", "a/b", "spare"):
    os.mkdir(f"{own}/{name}")
if not os.fork():
    with open(f"{own}/a/b/cgroup.procs", "w") as file:
        file.write("0")
    os.write(1, b"inside\\n")
os.read(0, 1)
"""
"""A session that makes cgroups inside its own and moves a child into the lowest."""


async def nested(post: Post) -> tuple[Held, str]:
    """The session of two processes, and the path of its cgroup."""
    program = (sys.executable, "-I", "-S", "-c", NESTING, str(post.client.cgroup_base))
    held = await post.spawn("nested", *program, stdin="pipe")
    assert await read_lines(held.stdout, 1) == ["inside"]
    return held, str(held.containment.describe()["cgroup"])


@pytest.mark.parametrize("containment", ["cgroup"])
async def test_members_of_nested_cgroups_are_members(post: Post) -> None:
    held, _ = await nested(post)
    assert len(held.containment.pids()) == 2
    assert held.containment.signal(signal.SIGTERM) == 2
    assert await held.containment.empty(PATIENCE_S)


@pytest.mark.parametrize("containment", ["cgroup"])
async def test_nested_cgroups_go_with_their_session(post: Post) -> None:
    held, path = await nested(post)
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    await post.client.drop("nested", 1)
    assert is_gone(path)


@pytest.mark.parametrize("containment", ["cgroup"])
async def test_the_base_of_a_killed_keeper_goes_with_all_below(post: Post) -> None:
    await nested(post)
    base, keeper = str(post.client.cgroup_base), post.client.pid
    os.kill(keeper, signal.SIGKILL)
    await process_ended(keeper)
    assert await kill_left_cgroup(base) == []
    assert is_gone(base)


@pytest.mark.parametrize("containment", ["cgroup"])
async def test_the_base_of_a_living_keeper_is_left_alone(post: Post) -> None:
    held = await post.sh("only", "sleep 1000")
    base = str(post.client.cgroup_base)
    assert held.pid in await kill_left_cgroup(base)
    assert lives(held.pid)
    assert await kill_left_cgroup(str(held.containment.describe()["cgroup"])) == []
    await post.client.drop("only", 1)
    later = await post.sh("later", "echo works")
    assert await read_lines(later.stdout, 1) == ["works"]


@pytest.mark.parametrize("containment", ["shim"])
async def test_a_shim_that_its_child_stopped_is_continued(post: Post) -> None:
    held = await post.sh(
        "stopper", "read go; kill -STOP $PPID; echo stopped; sleep 1000", stdin="pipe"
    )
    os.write(held.stdin or -1, b"go\n")
    assert await read_lines(held.stdout, 1) == ["stopped"]
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert not lives(held.pid)


@pytest.mark.parametrize("containment", ["shim"])
async def test_a_shim_that_stays_silent_is_killed_and_then_its_tree(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await post.sh(
        "stopper", "read go; kill -STOP $PPID; echo stopped; sleep 1000", stdin="pipe"
    )
    os.write(held.stdin or -1, b"go\n")
    assert await read_lines(held.stdout, 1) == ["stopped"]
    monkeypatch.setattr(held.containment, "_continue", lambda: None)  # as if stopped at once again
    await held.containment.kill()
    assert await held.containment.empty(PATIENCE_S)
    assert not lives(held.pid)


@pytest.mark.parametrize("containment", ["shim"])
async def test_a_child_that_stops_its_shim_at_once_does_not_hang_the_keeper(post: Post) -> None:
    for number in range(5):  # before or after the shim's first word, as chance will have it
        held = await post.sh(f"stopper{number}", "kill -STOP $PPID; echo stopped; sleep 1000")
        assert await read_lines(held.stdout, 1) == ["stopped"]
        await held.containment.kill()
        assert await held.containment.empty(PATIENCE_S)

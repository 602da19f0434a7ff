"""A shim whose session is over serves the next one, which finds nothing of the former."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from supervisor.keeper.errors import SpawnFailed
from supervisor.keeper.held import Held
from supervisor.keeper.tree import children_of
from tests.component.keeper.post import PATIENCE_S, Post, process_ended, read_lines, read_to_end

pytestmark = pytest.mark.parametrize("containment", ["shim"])

LOOK = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:3])"


def shim_of(held: Held) -> int:
    pid: int = held.containment._shim_pid  # type: ignore[attr-defined]
    return pid


async def over(post: Post, session: str) -> Held:
    """A session that has ended and was dropped; its containment is still in our hands."""
    held = await post.sh(session, "exit 3")
    assert await post.exit_of(session) == 3 << 8
    assert await held.containment.empty(PATIENCE_S)
    await post.client.drop(session, 1)
    return held


async def two_of_one_shim(post: Post) -> tuple[Held, Held]:
    """A session that is over, and a living one that has its shim."""
    former: dict[int, Held] = {}
    number = 0
    while True:
        number += 1
        ended = await over(post, f"ended{number}")
        former[shim_of(ended)] = ended
        living = await post.sh(f"living{number}", "echo up; exec sleep 1000")
        assert await read_lines(living.stdout, 1) == ["up"]
        if shim_of(living) in former:
            return former[shim_of(living)], living


async def test_one_shim_serves_one_session_after_the_other(post: Post) -> None:
    _, living = await two_of_one_shim(post)
    assert living.containment.pids() == [living.pid]
    await living.containment.kill()
    assert await living.containment.empty(PATIENCE_S)
    assert await post.exit_of(living.session) == signal.SIGKILL


async def test_what_held_the_former_session_cannot_reach_the_next(post: Post) -> None:
    former, living = await two_of_one_shim(post)
    assert former.containment.pids() == []
    assert former.containment.signal(signal.SIGTERM) == 0
    await former.containment.kill()
    assert await former.containment.empty(0)
    former.containment.close()
    await former.containment.kill()
    former.containment.close = lambda: None  # type: ignore[method-assign]  # closed above
    assert living.containment.pids() == [living.pid]


async def test_the_next_session_gets_no_descriptor_of_the_former(post: Post) -> None:
    await two_of_one_shim(post)
    held = await post.spawn("look", sys.executable, "-I", "-S", "-c", LOOK)
    assert await read_to_end(held.stdout) == b"[0, 1, 2]\n"


async def test_a_program_that_does_not_start_leaves_its_shim_for_the_next(post: Post) -> None:
    for number in range(20):  # more than are kept idle: each would take one along
        with pytest.raises(SpawnFailed, match="No such file"):
            await post.spawn(f"missing{number}", "/no/such/program")
    held = await post.sh("works", "echo works")
    assert await read_lines(held.stdout, 1) == ["works"]
    assert len(children_of(post.client.pid)) <= 2


async def test_an_idle_shim_that_was_killed_is_not_used(post: Post) -> None:
    ended = await over(post, "ended")
    for shim in children_of(post.client.pid):
        os.kill(shim, signal.SIGKILL)
        await process_ended(shim)
    held = await post.sh("next", "exit 4")
    assert shim_of(held) != shim_of(ended)
    assert await post.exit_of("next") == 4 << 8


async def test_idle_shims_end_with_their_keeper(post: Post) -> None:
    await over(post, "ended")
    shims = children_of(post.client.pid)
    os.kill(post.client.pid, signal.SIGKILL)
    for shim in shims:
        await process_ended(shim)


async def test_shims_that_die_together_leave_each_session_its_own(post: Post) -> None:
    held = [await post.sh(f"held{number}", "echo up; exec sleep 1000") for number in range(3)]
    for each in held:
        assert await read_lines(each.stdout, 1) == ["up"]
    os.kill(post.client.pid, signal.SIGSTOP)
    for each in held:
        os.kill(shim_of(each), signal.SIGKILL)
        await process_ended(shim_of(each))
    os.kill(post.client.pid, signal.SIGCONT)
    await held[0].containment.kill()
    assert await post.exit_of("held0") == signal.SIGKILL
    assert not await held[1].containment.empty(0)
    os.kill(held[1].pid, signal.SIGTERM)
    assert await post.exit_of("held1") == signal.SIGTERM
    assert held[2].containment.pids() == []  # nobody asked
    assert not await held[2].containment.empty(0)
    assert held[2].containment.pids() == [held[2].pid]


@pytest.mark.parametrize(
    "change",
    [
        "prlimit --pid $PPID --nofile=77:99",
        "renice -n 7 -p $PPID >/dev/null",
        "echo 500 > /proc/$PPID/oom_score_adj",
    ],
)
async def test_what_a_session_changed_in_its_shim_is_not_inherited(post: Post, change: str) -> None:
    for number in range(3):
        script = f"ulimit -Hn; nice; cat /proc/self/oom_score_adj; {change}"
        held = await post.sh(f"s{number}", script)
        found = await read_to_end(held.stdout)
        if not number:
            first = found
        assert found == first
        assert await held.containment.empty(PATIENCE_S)
        await post.client.drop(held.session, 1)
        await post.children()


async def test_a_request_that_comes_too_late_hits_nobody(post: Post) -> None:
    """The shim says empty and is given away between the look at its words and the request."""
    ended = await post.sh("ended", "exit 3")
    assert await post.exit_of("ended") == 3 << 8
    late = ended.containment
    await post.client.drop("ended", 1)
    living = await post.sh("living", "echo up; exec sleep 1000")
    while shim_of(living) != shim_of(ended):
        living = await post.sh(f"{living.session}.", "echo up; exec sleep 1000")
    late._request("kill")  # type: ignore[attr-defined]
    assert late.pids() == []
    assert late.signal(signal.SIGTERM) == 0
    await late.kill()
    assert await living.containment.empty(0) is False
    assert living.containment.pids() == [living.pid]


async def test_a_stopped_idle_shim_is_used_and_ends_with_its_keeper(post: Post) -> None:
    await over(post, "ended")
    for shim in children_of(post.client.pid):
        os.kill(shim, signal.SIGSTOP)
    held = await post.sh("next", "exit 4")
    assert await post.exit_of("next") == 4 << 8
    shim = shim_of(held)
    os.kill(shim, signal.SIGSTOP)
    await post.client.drop("next", 1)
    await post.client.end()
    await process_ended(shim)
    await process_ended(post.client.pid)

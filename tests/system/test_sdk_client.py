"""The other calls of the SDK against a real daemon, and the blocking twin."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Unpack

import pytest

import holdfast
import holdfast.sync
from holdfast.options import OutputStart
from holdfast.wire import ExecRequest
from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
async def hf(daemon: Daemon) -> AsyncIterator[holdfast.Client]:
    async with holdfast.connect(f"unix://{daemon.socket}") as client:
        yield client


@pytest.fixture
def blocking(daemon: Daemon) -> Iterator[holdfast.sync.Client]:
    with holdfast.sync.connect(f"unix://{daemon.socket}") as client:
        yield client


async def test_the_node_says_who_it_is(daemon: Daemon, hf: holdfast.Client) -> None:
    node = await hf.node()
    assert (node.pid, node.state_dir) == (daemon.pid, str(daemon.state_dir))


async def test_list_walks_all_pages_and_filters(hf: holdfast.Client) -> None:
    ids = [(await hf.start(["cat"], labels={"n": str(n % 2)})).id for n in range(5)]
    assert {one.id async for one in hf.each()} == set(ids)
    page = await hf.page(limit=2)
    assert len(page.items) == 2
    assert page.next_cursor
    assert len(await hf.list(label="n=1")) == 2
    assert len(await hf.list(label=["n=0", "n=1"], state="running")) == 5


async def test_stop_all_stops_what_matches(hf: holdfast.Client) -> None:
    kept = await hf.start(["cat"])
    stopped = await hf.start(["cat"], labels={"team": "a"})
    receipts = await hf.stop_all(label="team=a")
    assert [(one.session, one.state) for one in receipts] == [(stopped.id, "done")]
    assert (await hf.get(kept.id)).state == "running"


async def test_a_repeated_command_is_one_receipt(hf: holdfast.Client) -> None:
    session = await hf.start(["cat"])
    first = await session.kill(command_id="end-it", reason="enough")
    again = await session.kill(command_id="end-it", reason="enough")
    assert again == first == await hf.receipt("end-it")
    assert first.reason == "enough"


async def test_patch_remove_and_prune(hf: holdfast.Client) -> None:
    session = await hf.start(["true"], name="old")
    await session.wait()
    changed = await hf.patch(session.id, name="new", labels={"a": "b"})
    assert (changed.name, changed.labels) == ("new", {"a": "b"})
    await hf.remove("new")
    with pytest.raises(holdfast.NotFound):
        await hf.remove("new")
    other = await hf.run(["true"])
    assert await hf.prune() == [other.id]


async def test_exec_answers_with_bounded_output(hf: holdfast.Client) -> None:
    result = await hf.exec(ExecRequest(command=["sh", "-c", "echo hi; exit 3"]))
    assert (result.exit_code, result.stdout) == (3, "hi\n")
    with pytest.raises(holdfast.TimedOut):
        await hf.exec(ExecRequest(command=["sleep", "600"], timeout=0.2))


async def test_send_appends_and_repeats_at_its_offset(hf: holdfast.Client) -> None:
    session = await hf.start(["cat"])
    assert await hf.send(session.id, b"abc", offset=0) == 3
    assert await hf.send(session.id, b"abc", offset=0) == 3
    with pytest.raises(holdfast.Conflict):
        await hf.send(session.id, b"xyz", offset=0)
    assert await hf.send(session.id, b"\n", close=True) == 4
    assert (await session.output()).stdout == b"abc\n"


async def test_logs_begin_where_asked_and_end_at_the_present(hf: holdfast.Client) -> None:
    session = await hf.start("for n in 1 2 3; do echo $n; done; echo e >&2; exec sleep 600")
    await session.wait_for(log="e")

    async def read(**start: Unpack[OutputStart]) -> bytes:
        return b"".join([one.data async for one in hf.logs(session.id, **start)])

    assert await read() == b"1\n2\n3\ne\n"
    assert await read(tail_lines=2) == b"3\ne\n"
    assert await read(tail_bytes=4) == b"3\ne\n"
    assert await read(offset=8) == b""
    errors = [one.data async for one in hf.logs(session.id, stream="stderr")]
    assert errors == [b"e\n"]
    with pytest.raises(holdfast.BadRequest):
        await read(offset=1, tail_lines=1)


async def test_followed_logs_end_with_the_session(hf: holdfast.Client) -> None:
    session = await hf.start(["cat"])
    await hf.send(session.id, b"a\nb\n", close=True)
    assert b"".join([one.data async for one in hf.logs(session.id, follow=True)]) == b"a\nb\n"


async def test_events_go_on_through_sigkill_of_the_daemon(
    daemon: Daemon, hf: holdfast.Client
) -> None:
    cursor = (await hf.page()).event_cursor
    seen: list[str] = []
    first = await hf.start(["cat"])
    async for event in hf.events(cursor, type=["session.started", "session.exited"]):
        seen.append(f"{event.type} {event.session}")
        if len(seen) == 1:
            await asyncio.to_thread(daemon.kill9)
            await asyncio.to_thread(daemon.wait_answering)
            await first.kill()
        if len(seen) == 2:
            break
    assert seen == [f"session.started {first.id}", f"session.exited {first.id}"]
    page = await hf.event_page(cursor, session=first.id)
    assert [one.type for one in page.items][:2] == ["session.created", "session.starting"]


async def test_over_tcp_a_token_is_needed(new_daemon: NewDaemon) -> None:
    daemon = new_daemon(tcp="127.0.0.1:0")
    address = next(one for one in daemon.listeners if one.startswith("tcp:"))
    url = "http://" + address.removeprefix("tcp:")
    async with holdfast.connect(f"unix://{daemon.socket}") as local:
        token = (await local.create_token("test")).token
    async with holdfast.connect(url) as nobody:
        with pytest.raises(holdfast.Unauthenticated):
            await nobody.node()
    async with holdfast.connect(url, token) as hf:
        session = await hf.start("echo over tcp")
        assert (await session.output()).stdout == b"over tcp\n"
        assert (await hf.run(["cat"], input=b"both ways")).stdout == b"both ways"


async def test_without_a_daemon_the_address_is_named(tmp_path: Path) -> None:
    async with holdfast.connect(f"unix://{tmp_path}/none.sock") as hf:
        with pytest.raises(holdfast.NotReachable, match=r"none\.sock"):
            await hf.node()


def test_the_blocking_twin_runs_starts_reads_and_writes(blocking: holdfast.sync.Client) -> None:
    assert blocking.run("echo hi", check=True).stdout == b"hi\n"
    with blocking.start(["cat"], name="twin") as session:
        assert session.stdin is not None
        session.stdin.write(b"line\n")
        assert session.stdout.readline() == b"line\n"
        session.stdin.close()
        assert session.wait() == 0
    assert [one.name for one in blocking.list(name="twin")] == ["twin"]
    assert b"".join(one.data for one in blocking.logs("twin")) == b"line\n"


def test_errors_of_the_blocking_twin_are_the_same(blocking: holdfast.sync.Client) -> None:
    with pytest.raises(holdfast.NotFound):
        blocking.get("nobody")
    with pytest.raises(holdfast.SpawnFailed):
        blocking.run(["/no/such/program"])


def test_leaving_the_blocking_twin_ends_no_session(daemon: Daemon) -> None:
    for _ in range(2):
        with holdfast.sync.connect(f"unix://{daemon.socket}") as hf:
            session = hf.start(["cat"], id="kept")
            assert session.returncode is None
            assert session.stdout is not None


def test_an_iteration_left_early_leaves_nothing_open(blocking: holdfast.sync.Client) -> None:
    session = blocking.start("while :; do echo tick; sleep 0.01; done")
    for output in session.follow():
        assert output.data.startswith(b"tick")
        break
    session.kill()
    session.detach()


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("sdk_*.py")))
def test_an_example_runs(daemon: Daemon, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=daemon.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("done")

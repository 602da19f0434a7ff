"""`run` of the SDK against a real daemon: whole output, true status, through SIGKILL."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator

import pytest

import holdfast
from holdfast.wire import SessionView
from tests.system.daemon import Daemon

MIB = 1024 * 1024

# Both streams at once, 64 MiB each, every byte of it known: SHA-256 blocks of a counter.
FLOOD = """
import hashlib, os, sys, threading
def flood(fd, size):
    made = 0
    while made < size:
        block = hashlib.sha256(b"%d:%d" % (fd, made)).digest() * 2048
        at = 0
        while at < len(block):
            at += os.write(fd, block[at:])
        made += len(block)
threads = [threading.Thread(target=flood, args=(fd, int(sys.argv[1]))) for fd in (1, 2)]
[one.start() for one in threads]
[one.join() for one in threads]
sys.exit(7)
"""


def flood(descriptor: int, size: int) -> bytes:
    """What the program above writes to one of its descriptors."""
    blocks, made = [], 0
    while made < size:
        blocks.append(hashlib.sha256(b"%d:%d" % (descriptor, made)).digest() * 2048)
        made += len(blocks[-1])
    return b"".join(blocks)


@pytest.fixture
async def hf(daemon: Daemon) -> AsyncIterator[holdfast.Client]:
    async with holdfast.connect(f"unix://{daemon.socket}") as client:
        yield client


async def until_output(hf: holdfast.Client, name: str, least: int) -> SessionView:
    """Return when a session printed so much; each look is an answer of the daemon."""
    while True:
        try:
            view = await hf.get(name)
        except holdfast.NotFound:
            await hf.node()
            continue
        if view.output.next >= least:
            return view


async def test_run_returns_status_and_output_of_both_streams(hf: holdfast.Client) -> None:
    result = await hf.run("printf out; printf err >&2; exit 3")
    assert (result.stdout, result.stderr) == (b"out", b"err")
    assert (result.returncode, result.exit_code, result.outcome) == (3, 3, "exited")


async def test_a_list_never_goes_through_a_shell(hf: holdfast.Client) -> None:
    result = await hf.run(["echo", "$HOME;", "*"])
    assert result.stdout == b"$HOME; *\n"


async def test_a_signal_is_negative_in_the_returncode_and_128_more_in_the_exit_code(
    hf: holdfast.Client,
) -> None:
    result = await hf.run("kill -KILL $$")
    assert (result.returncode, result.exit_code, result.outcome) == (-9, 137, "signaled")


async def test_check_raises_with_the_tail_of_stderr(hf: holdfast.Client) -> None:
    with pytest.raises(holdfast.CommandFailed, match="broken pipe dream") as caught:
        await hf.run("echo broken pipe dream >&2; exit 2", check=True)
    assert caught.value.result.exit_code == 2


async def test_a_missing_program_is_an_error_with_its_stage(hf: holdfast.Client) -> None:
    with pytest.raises(holdfast.SpawnFailed) as caught:
        await hf.run(["/no/such/program"])
    assert (caught.value.errno, caught.value.stage) == ("ENOENT", "exec")
    assert caught.value.session_id


async def test_input_of_any_size_comes_back_from_cat(hf: holdfast.Client) -> None:
    content = flood(0, 8 * MIB)
    result = await hf.run(["cat"], input=content)
    assert result.stdout == content


async def test_a_command_that_does_not_read_its_input_ends_all_the_same(
    hf: holdfast.Client,
) -> None:
    result = await hf.run(["true"], input=b"x" * 4 * MIB)
    assert result.exit_code == 0


async def test_the_run_timeout_raises_with_the_output_so_far(hf: holdfast.Client) -> None:
    with pytest.raises(holdfast.TimedOut) as caught:
        await hf.run("echo begun; exec sleep 600", timeout=0.5)
    assert caught.value.result is not None
    assert caught.value.result.stdout == b"begun\n"


async def test_cancelling_run_stops_its_command(hf: holdfast.Client) -> None:
    running = asyncio.create_task(hf.run("echo up; exec sleep 600", name="long"))
    await until_output(hf, "long", 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    session = await hf.attach("long")
    assert await session.wait() == -15
    assert session.outcome == "killed"


async def test_cancelling_run_before_its_start_is_answered_leaves_nothing_running(
    hf: holdfast.Client,
) -> None:
    running = asyncio.create_task(hf.run(["sleep", "600"], id="early"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    try:
        session = await hf.attach("early")
    except holdfast.NotFound:
        return  # it was cancelled before anything was sent
    assert await session.wait() == -15


async def test_64_mib_on_each_stream_are_exact_through_sigkills_of_the_daemon(
    daemon: Daemon, hf: holdfast.Client
) -> None:
    size = 64 * MIB
    argv = [sys.executable, "-c", FLOOD, str(size)]
    running = asyncio.create_task(hf.run(argv, name="flood"))
    for least in (1, 40 * MIB, 90 * MIB):
        await until_output(hf, "flood", least)
        await asyncio.to_thread(daemon.kill9)
        await asyncio.to_thread(daemon.wait_answering)
    result = await running
    assert result.exit_code == 7
    for descriptor, content in ((1, result.stdout), (2, result.stderr)):
        assert content == flood(descriptor, size), f"descriptor {descriptor}: {len(content)}"


async def test_run_many_gives_results_in_order_and_stops_on_error(hf: holdfast.Client) -> None:
    results = await hf.run_many([["echo", str(n)] for n in range(10)], concurrency=4)
    assert [one.stdout for one in results] == [b"%d\n" % n for n in range(10)]
    stopped = await hf.run_many(["true", "false", "true"], concurrency=1, stop_on_error=True)
    assert [one.exit_code for one in stopped] == [0, 1]

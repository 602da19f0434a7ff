"""`Session` of the SDK against a real daemon: streams, input exactly once, waiting, leaving."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

import holdfast
from tests.system.daemon import Daemon

ECHO = "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)"
SERVER = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
server.accept()
"""


@pytest.fixture
async def hf(daemon: Daemon) -> AsyncIterator[holdfast.Client]:
    async with holdfast.connect(f"unix://{daemon.socket}") as client:
        yield client


async def kill9(daemon: Daemon) -> None:
    await asyncio.to_thread(daemon.kill9)
    await asyncio.to_thread(daemon.wait_answering)


async def test_a_session_reads_writes_and_waits_like_a_process(hf: holdfast.Client) -> None:
    session = await hf.start([sys.executable, "-c", ECHO])
    assert session.pid
    assert session.view.state == "running"
    assert session.stdin is not None
    session.stdin.write(b"one\n")
    await session.stdin.drain()
    assert await session.stdout.readline() == b"got one\n"
    session.stdin.close()
    await session.stdin.wait_closed()
    assert await session.wait() == 0
    assert await session.stdout.read() == b""
    assert (session.returncode, session.exit_code, session.outcome) == (0, 0, "exited")


async def test_a_session_without_input_has_no_stdin(hf: holdfast.Client) -> None:
    session = await hf.start(["true"], stdin="null")
    assert session.stdin is None
    assert await session.wait() == 0


async def test_wait_depends_on_nobody_reading(hf: holdfast.Client) -> None:
    session = await hf.start("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert await session.wait() == 0


async def test_reading_one_stream_is_not_held_up_by_the_other(hf: holdfast.Client) -> None:
    session = await hf.start("head -c 8000000 /dev/zero >&2; echo done")
    assert [line async for line in session.stdout] == [b"done\n"]


async def test_output_is_given_once(hf: holdfast.Client) -> None:
    session = await hf.start("echo out; echo err >&2; exit 4")
    result = await session.output()
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 4)
    with pytest.raises(TypeError):
        await session.output()
    with pytest.raises(TypeError):
        _ = session.stdout


async def test_follow_yields_both_streams_in_order(hf: holdfast.Client) -> None:
    session = await hf.start("echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c")
    got = [(output.stream, output.data) async for output in session.follow()]
    assert got == [("stdout", b"a\n"), ("stderr", b"b\n"), ("stdout", b"c\n")]


async def test_callbacks_get_everything_before_wait_returns(hf: holdfast.Client) -> None:
    out, err = bytearray(), bytearray()
    ends: list[int | None] = []
    session = await hf.start(
        "head -c 300000 /dev/zero; echo err >&2; exit 5",
        on_stdout=out.extend,
        on_stderr=err.extend,
        on_exit=ends.append,
    )
    assert await session.wait() == 5
    assert (len(out), bytes(err), ends) == (300000, b"err\n", [5])


async def test_a_gap_is_raised_or_yielded_with_its_bounds(hf: holdfast.Client) -> None:
    size = 4_000_000
    options = {"capacity": 512 * 1024}
    session = await hf.start(f"head -c {size} /dev/zero", name="ring", capacity=512 * 1024)
    await session.wait()
    late = await hf.attach(session.id, offset=0)
    items = [item async for item in late.follow(on_gap="yield")]
    gap = items[0]
    assert isinstance(gap, holdfast.Gap)
    assert gap.from_ == 0
    kept = sum(len(item.data) for item in items[1:] if isinstance(item, holdfast.Output))
    assert gap.to + kept == size
    assert kept <= options["capacity"]
    again = await hf.attach(session.id, offset=0)
    with pytest.raises(holdfast.Gap):
        await again.stdout.read()
    assert len(await again.stdout.read()) == kept


async def test_the_same_id_is_the_same_session_and_another_command_a_conflict(
    hf: holdfast.Client,
) -> None:
    first = await hf.start(["cat"], id="one")
    second = await hf.start(["cat"], id="one")
    assert second.pid == first.pid
    with pytest.raises(holdfast.Conflict):
        await hf.start(["tac"], id="one")


async def test_wait_for_a_line_a_port_and_silence(hf: holdfast.Client) -> None:
    session = await hf.start([sys.executable, "-c", SERVER])
    seen = await session.wait_for(log=r"^\d+")
    port = await session.wait_for(port="any")
    assert port.evidence is not None
    assert str(port.evidence["port"]).encode() == (await session.stdout.readline()).strip()
    quiet = await session.wait_for(idle=0.05)
    assert (seen.reason, port.reason, quiet.reason) == ("met", "met", "met")


async def test_wait_for_readiness_through_sigkills_of_the_daemon(
    hf: holdfast.Client, daemon: Daemon
) -> None:
    script = "read -r x; echo up; exec sleep 1000"
    session = await hf.start(["sh", "-c", script], ready={"log": "^up$"})
    waiting = asyncio.create_task(session.wait_for(ready=True))
    await asyncio.to_thread(daemon.kill9)
    await hf.send(session.id, b"\n", offset=0)
    assert (await waiting).met == 0
    assert session.view.ready
    await asyncio.to_thread(daemon.kill9)
    assert (await session.refresh()).ready


async def test_wait_for_a_url(hf: holdfast.Client) -> None:
    port = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"
    serve = "c, _ = s.accept(); c.sendall(b'HTTP/1.0 204 x\\r\\n\\r\\n'); c.recv(9999); c.close()"
    code = f"{port}\nwhile True:\n    {serve}"
    session = await hf.start(["python3", "-u", "-S", "-c", code])
    found = await session.wait_for(log=r"^\d+$")
    assert found.evidence is not None
    url = f"http://localhost:{found.evidence['match']}/"
    seen = await session.wait_for(http=url, status=204)
    assert seen.evidence == {"http": url, "status": 204}


async def test_a_start_and_its_steps_take_one_round_trip_each(hf: holdfast.Client) -> None:
    script = "echo hello; while read -r x; do eval \"$x\"; echo '$ '; done"
    session = await hf.start(
        ["sh", "-c", script], wait={"log": "^hello$", "timeout": 20}, read={"tail_lines": 1}
    )
    created = session.created
    assert created is not None
    assert created.read
    assert created.read.text == "hello\n"
    for number in (1, 2):
        done = await session.step(f"echo {number}\n", wait={"log": r"^\$ "}, read={})
        assert done.wait
        assert done.read
        assert (done.wait.met, done.read.text) == (0, f"{number}\n$ \n")
    done = await session.step("exit 3\n", wait={"ended": True})
    assert done.wait
    assert done.wait.session.exit_code == 3
    with pytest.raises(holdfast.BadRequest):
        await session.step("x", wait={})


async def test_waiting_ends_with_the_time_or_with_the_session(hf: holdfast.Client) -> None:
    session = await hf.start(["cat"])
    with pytest.raises(holdfast.TimedOut):
        await session.wait_for(log="never", timeout=0.05)
    waiting = asyncio.create_task(session.wait_for(log="never"))
    receipt = await session.stop()
    assert receipt.state == "done"
    with pytest.raises(holdfast.EndedFirst):
        await waiting


async def test_leaving_detaches_and_a_pending_wait_says_so(hf: holdfast.Client) -> None:
    async with await hf.start(["cat"], name="kept") as session:
        reading = asyncio.create_task(session.stdout.read())
        waiting = asyncio.create_task(session.wait())
        await session.wait_for(idle=0.01)
    for task in (reading, waiting):
        with pytest.raises(holdfast.Detached):
            await task
    assert (await hf.get("kept")).state == "running"


async def test_a_second_writer_is_told_and_a_takeover_succeeds(hf: holdfast.Client) -> None:
    first = await hf.start(["cat"], name="shared")
    assert first.stdin is not None
    first.stdin.write(b"1\n")
    await first.stdin.drain()
    second = await hf.attach("shared")
    assert second.stdin is not None
    second.stdin.write(b"2\n")
    with pytest.raises(holdfast.NotWriter):
        await second.stdin.wait_closed()
    third = await hf.attach("shared", role="writer", takeover=True)
    assert third.stdin is not None
    third.stdin.write(b"3\n")
    await third.stdin.drain()
    assert await first.stdout.readline() == b"1\n"
    assert await first.stdout.readline() == b"3\n"
    with pytest.raises(holdfast.NotWriter):
        first.stdin.write(b"4\n")


async def test_a_writer_role_that_is_held_is_a_conflict(hf: holdfast.Client) -> None:
    first = await hf.start(["cat"], name="held")
    assert first.stdin is not None
    first.stdin.write(b"1\n")
    await first.stdin.drain()
    second = await hf.attach("held", role="writer")
    with pytest.raises(holdfast.Conflict):
        await second.stdout.read()


async def test_input_arrives_once_through_sigkills_of_the_daemon(
    daemon: Daemon, hf: holdfast.Client
) -> None:
    lines = [b"%07d %s\n" % (n, b"x" * (n % 90)) for n in range(40_000)]
    session = await hf.start(["cat"])
    stdin = session.stdin
    assert stdin is not None

    async def feed() -> None:
        for start in range(0, len(lines), 100):
            stdin.write(b"".join(lines[start : start + 100]))
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()

    async def disturb() -> None:
        for _ in range(4):
            await kill9(daemon)

    reading = asyncio.create_task(session.stdout.read())
    await asyncio.gather(feed(), disturb())
    assert await reading == b"".join(lines)
    assert await session.wait() == 0


async def test_a_session_goes_on_through_sigkill_of_the_daemon(
    daemon: Daemon, hf: holdfast.Client
) -> None:
    session = await hf.start([sys.executable, "-c", ECHO])
    assert session.stdin is not None
    waiting = asyncio.create_task(session.wait())
    for n in range(3):
        session.stdin.write(b"%d\n" % n)
        assert await session.stdout.readline() == b"got %d\n" % n
        await kill9(daemon)
    receipt = await session.kill()
    assert receipt.state == "done"
    assert await waiting == -9
    assert session.outcome == "killed"


async def test_a_daemon_that_stays_away_is_reported(daemon: Daemon) -> None:
    async with holdfast.connect(f"unix://{daemon.socket}", patience=0.2) as hf:
        session = await hf.start(["cat"])
        reading = asyncio.create_task(session.stdout.read())
        await session.wait_for(idle=0.01)
        await asyncio.to_thread(daemon.terminate)
        with pytest.raises(holdfast.NotReachable):
            await reading
        with pytest.raises(holdfast.NotReachable):
            await hf.node()
    await asyncio.to_thread(daemon.start)


async def test_restart_gives_the_next_generation_on_the_same_streams(hf: holdfast.Client) -> None:
    session = await hf.start("echo $HOLDFAST_SESSION_ID; exec sleep 600")
    first = await session.stdout.readline()
    await session.restart()
    assert await session.stdout.readline() == first == session.id.encode() + b"\n"
    assert session.view.generation == 2
    await session.kill()

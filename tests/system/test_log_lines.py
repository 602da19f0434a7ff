"""Lines of many sessions through SIGKILL of the daemon: nothing lost, nothing repeated."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import holdfast
import holdfast.sync
from tests.system.daemon import Daemon
from tests.system.hold_command import Hold


async def test_followed_lines_go_on_through_sigkill_of_the_daemon(daemon: Daemon) -> None:
    seen: list[tuple[str | None, str]] = []
    async with holdfast.connect(f"unix://{daemon.socket}") as hf:
        for name in ("one", "two"):
            await hf.start("printf 'a\\nb'; cat", name=name, labels={"app": "web"})
        async with aclosing(hf.log_lines(label="app=web", follow=True)) as lines:
            async for told in lines:
                assert isinstance(told, holdfast.LogLine)
                seen.append((told.name, told.line))
                if len(seen) == 2:
                    await asyncio.to_thread(daemon.kill9)
                    await asyncio.to_thread(daemon.wait_answering)
                    await hf.start("echo late", name="late", labels={"app": "web"})
                    for name in ("one", "two"):
                        await hf.send(name, b"c\nd", offset=0, close=True)
                if len(seen) == 7:
                    break
    expected = [(name, line) for name in ("one", "two") for line in ("a", "bc", "d")]
    assert sorted(seen, key=str) == sorted([*expected, ("late", "late")], key=str)


def test_logs_of_many_sessions_are_prefixed_and_go_on_through_sigkill(
    daemon: Daemon, tmp_path: Path
) -> None:
    hold = Hold(daemon.environment, tmp_path)
    for name in ("web", "worker"):
        hold.start("--name", name, "--label", "app=x", "--", "sh", "-c", "echo up; cat; echo down")
        hold.out("wait", name, "--for", "log:up")
    with hold.running("logs", "-f", "web", "worker") as child:
        assert child.stdout is not None
        before = {child.stdout.readline(), child.stdout.readline()}
        assert {line.replace(b" ", b"") for line in before} == {b"web|up\n", b"worker|up\n"}
        daemon.kill9()
        daemon.wait_answering()
        for name in ("web", "worker"):
            hold.out("send", name, "--eof")
        after = child.stdout.read().replace(b" ", b"").splitlines()
        assert sorted(after) == [b"web|down", b"worker|down"]
        assert child.wait() == 0
    found = hold.out("logs", "-l", "app=x", "--grep", "^up$").replace(" ", "").splitlines()
    assert sorted(found) == ["web|up", "worker|up"]
    assert hold.out("logs", "web", "--grep", "down", "--context", "1") == "up\ndown"
    told = [json.loads(line) for line in hold.out("logs", "-a", "-n", "1", "--json").splitlines()]
    assert {(one["name"], one["line"]) for one in told} == {("web", "down"), ("worker", "down")}


def test_logs_say_which_words_do_not_go_together(daemon: Daemon, tmp_path: Path) -> None:
    hold = Hold(daemon.environment, tmp_path)
    hold.start("--name", "web", "--", "true")
    for words in ([], ["web", "-a"], ["-a", "-n", "1", "--since", "1m"], ["-a", "--previous"]):
        assert hold("logs", *words).returncode == 64
    refused = hold("logs", "web", "--grep", "(")
    assert refused.returncode != 0
    assert b"RE2" in refused.stderr
    assert hold("logs", "web", "nobody").returncode == 66


def test_the_blocking_twin_reads_lines(daemon: Daemon) -> None:
    with holdfast.sync.connect(f"unix://{daemon.socket}") as hf:
        with hf.start(r"printf '\033[1mhit %s\033[m\nmiss\n' $'\u2028'", name="web") as session:
            session.wait()
        (told,) = hf.log_lines("web", grep="hit", clean="ansi", since=3600)
        assert isinstance(told, holdfast.LogLine)
        assert (told.name, told.stream, told.line, told.offset) == (
            "web",
            "stdout",
            "hit \u2028",
            0,
        )

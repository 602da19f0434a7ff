"""No client harms another: stuck readers, hundreds of clients, a child that reads nothing."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import httpx

from tests.system.asking import ended, get, printed, start
from tests.system.attaching import Attachment
from tests.system.daemon import Daemon

FLOOD = """
import itertools, sys
for first in itertools.count(0, 1000):
    sys.stdout.write("".join(f"{n:013d}\\n" for n in range(first, first + 1000)))
"""
"""Numbered lines for ever."""
RING = 1 << 20
ROUNDS = 50
CLIENTS = 200
MUCH = 16 << 20


def start_flood(client: httpx.Client) -> None:
    argv = [sys.executable, "-I", "-S", "-c", FLOOD]
    start(client, *argv, id="flood", output={"capacity": RING})


def next_offset(client: httpx.Client) -> int:
    offset: int = get(client, "flood")["output"]["next"]
    return offset


def start_neighbour(client: httpx.Client) -> None:
    script = 'echo up; while read line; do echo "got $line"; done'
    start(client, "sh", "-c", script, id="neighbour", stdin="pipe")
    printed(client, "neighbour", "^up$")


def assert_both_go_on(daemon: Daemon, client: httpx.Client) -> None:
    """The neighbour answers each of many lines; meanwhile the flood goes on by many rings."""
    before = next_offset(client)
    with Attachment(daemon, "neighbour") as attached:
        offset = attached.until("input")["next"]
        number = 0
        while number < ROUNDS or next_offset(client) < before + MUCH:
            line = b"line %d\n" % number
            attached.type_in(line, offset)
            attached.until_output(b"got " + line)
            offset, number = offset + len(line), number + 1


def test_a_stuck_reader_holds_up_neither_the_child_nor_a_neighbour(daemon: Daemon) -> None:
    with daemon.client() as client:
        start_flood(client)
        start_neighbour(client)
        with Attachment(daemon, "flood", "role=observer") as stuck:
            stuck.until("attached")
            assert_both_go_on(daemon, client)
            assert get(client, "flood")["output"]["stalled"] is None
            assert len(get(client, "flood")["attachments"]) == 1
            told = stuck.until("gap")  # what it missed has exact bounds; then it goes on
            assert told["to"] > told["from"]
            stuck.until_output(b"\n")


def test_two_hundred_clients_hold_up_neither_the_child_nor_a_neighbour(daemon: Daemon) -> None:
    with daemon.client() as client, ExitStack() as stack:
        start_flood(client)
        start_neighbour(client)
        clients = [
            stack.enter_context(Attachment(daemon, "flood", "role=observer"))
            for _ in range(CLIENTS)
        ]
        assert len(get(client, "flood")["attachments"]) == CLIENTS
        assert_both_go_on(daemon, client)
        for attached in clients:
            attached.until("live")
            read = 0
            while read < RING:
                message = attached.next()
                read += len(message) if isinstance(message, bytes) else 0


def test_a_child_that_reads_nothing_is_interrupted_through_the_same_socket(daemon: Daemon) -> None:
    with daemon.client() as client:
        start(client, "sleep", "1000", id="deaf", stdin="pipe")
        with Attachment(daemon, "deaf") as attached:
            told = attached.until("input")
            offset = told["next"]
            while offset < told["limit"]:
                piece = b"x" * min(65536, told["limit"] - offset)
                attached.type_in(piece, offset)
                offset += len(piece)
            attached.say(type="signal", signal="SIGINT")
            over = attached.until("exit")
        assert (over["outcome"], over["signal"]) == ("killed", "SIGINT")
        assert ended(client, "deaf")["exit_code"] == 130

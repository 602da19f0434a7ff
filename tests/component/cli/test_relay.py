"""The relay of `hold dial-stdio` between pipes or sockets, and a server that is this test."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Thread

import pytest

from holdfast.cli.relay import relay

MIB = 1024 * 1024
ALL_BYTES = bytes(range(256)) * 8192  # more than any buffer between the two ends
PATIENCE_S = 30.0


class Ends:
    """What the relay joins. `client_in` writes to its stdin, `client_out` reads its stdout."""

    def __init__(self, stack: ExitStack) -> None:
        stdin, self.client_in = os.pipe()
        self.client_out, stdout = os.pipe()
        self.server, connection = socket.socketpair()
        self.server.settimeout(PATIENCE_S)

        def run() -> None:
            with connection:
                try:
                    relay(stdin, stdout, connection)
                finally:
                    os.close(stdin)
                    os.close(stdout)

        self.thread = Thread(target=run)
        self.thread.start()
        stack.callback(self.close)

    def close(self) -> None:
        self.server.close()
        self.end_input()
        os.close(self.client_out)
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def end_input(self) -> None:
        if self.client_in >= 0:
            os.close(self.client_in)
            self.client_in = -1


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


def read_all(read: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(lambda: read(MIB), b""))


def test_every_byte_passes_unchanged_both_ways_at_once(ends: Ends) -> None:
    def feed() -> None:
        with open(ends.client_in, "wb", closefd=False) as file:
            file.write(ALL_BYTES)
        ends.end_input()

    def answer() -> None:
        ends.server.sendall(ALL_BYTES[::-1])
        ends.server.shutdown(socket.SHUT_WR)

    threads = [Thread(target=feed), Thread(target=answer)]
    for thread in threads:
        thread.start()
    assert read_all(lambda n: os.read(ends.client_out, n)) == ALL_BYTES[::-1]
    assert read_all(ends.server.recv) == ALL_BYTES
    for thread in threads:
        thread.join(PATIENCE_S)


def test_an_answer_still_comes_behind_the_end_of_the_input(ends: Ends) -> None:
    os.write(ends.client_in, b"question")
    ends.end_input()
    assert read_all(ends.server.recv) == b"question"
    ends.server.sendall(b"answer")
    ends.server.close()
    assert read_all(lambda n: os.read(ends.client_out, n)) == b"answer"


def test_input_still_goes_behind_the_end_of_the_output(ends: Ends) -> None:
    ends.server.sendall(b"done")
    ends.server.shutdown(socket.SHUT_WR)
    assert read_all(lambda n: os.read(ends.client_out, n)) == b"done"
    os.write(ends.client_in, b"late")
    assert ends.server.recv(MIB) == b"late"


def test_it_ends_when_the_server_has_gone(ends: Ends) -> None:
    ends.server.close()
    ends.thread.join(PATIENCE_S)
    assert not ends.thread.is_alive()


def test_it_ends_when_nobody_reads_its_output(ends: Ends) -> None:
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, ends.client_out)
    os.close(nowhere)
    ends.thread.join(PATIENCE_S)
    assert not ends.thread.is_alive()


def test_one_socket_can_be_both_input_and_output() -> None:
    client, both = socket.socketpair()
    server, connection = socket.socketpair()
    thread = Thread(target=relay, args=(both.fileno(), both.fileno(), connection))
    with client, both, server, connection:
        thread.start()
        client.sendall(b"question")
        assert server.recv(MIB) == b"question"
        server.sendall(b"answer")
        server.shutdown(socket.SHUT_WR)
        assert read_all(client.recv) == b"answer"
        client.shutdown(socket.SHUT_WR)
        assert read_all(server.recv) == b""
        thread.join(PATIENCE_S)
        assert not thread.is_alive()

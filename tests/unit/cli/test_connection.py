"""A call survives the daemon that took it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.address import resolve
from holdfast.cli.connection import Connection
from holdfast.errors import NotReachable, Unavailable


def refusal(message: str) -> bytes:
    return answer(b'{"error":{"code":"UNAVAILABLE","message":"%s"}}' % message.encode(), 503)


def answer(content: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


def serve(listener: socket.socket, answers: tuple[bytes, ...]) -> None:
    """Take one connection per answer, read its request, and hang up behind the answer."""
    for content in answers:
        taken, _ = listener.accept()
        with taken:
            taken.recv(65536)
            taken.sendall(content)


@contextmanager
def answering(folder: Path, *answers: bytes) -> Iterator[Connection]:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as serving:
        listener.bind(str(path))
        listener.listen()
        served = serving.submit(serve, listener, answers)
        connection = Connection(resolve(f"unix://{path}"))
        try:
            yield connection
        finally:
            connection.close()
            listener.shutdown(socket.SHUT_RDWR)
            served.exception()


@pytest.mark.parametrize("first", [b"", refusal("The daemon is ending.")])
def test_a_first_long_poll_outlives_its_daemon(tmp_path: Path, first: bytes) -> None:
    with answering(tmp_path, first, answer(b"{}")) as connection:
        assert connection.call("POST", "/v1/sessions/a/wait", repeatable=True) == {}


def test_what_must_not_be_sent_twice_is_not(tmp_path: Path) -> None:
    with answering(tmp_path, b"") as connection, pytest.raises(NotReachable):
        connection.call("POST", "/v1/prune")


def test_another_refusal_is_told_at_once(tmp_path: Path) -> None:
    with (
        answering(tmp_path, refusal("The store failed.")) as connection,
        pytest.raises(Unavailable),
    ):
        connection.get("/v1/sessions")

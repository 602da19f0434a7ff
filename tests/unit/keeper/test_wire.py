"""Messages keep their bytes, their borders and their descriptors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from supervisor.keeper import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


@pytest.mark.parametrize("size", [1, wire.INLINE_BYTES, 1_000_000])
def test_a_message_of_any_length_arrives_with_its_descriptors(pair: Pair, size: int) -> None:
    read_end, write_end = os.pipe()
    wire.send(pair[0], {"text": "x" * size}, [write_end])
    os.close(write_end)
    message, fds = wire.receive(pair[1])
    assert message == {"text": "x" * size}
    assert not os.get_inheritable(fds[0])
    os.write(fds[0], b"through")
    assert os.read(read_end, 100) == b"through"
    wire.close_all([read_end, *fds])


def test_every_byte_survives(pair: Pair) -> None:
    every = bytes(range(256)) + "grüße \U0001f600".encode()
    wire.send(pair[0], {"text": every.decode("utf-8", "surrogateescape")})
    message, _ = wire.receive(pair[1])
    assert wire.encode(message["text"]) == every


def test_two_messages_stay_two(pair: Pair) -> None:
    wire.send(pair[0], {"n": 1})
    wire.send(pair[0], {"n": 2})
    assert [wire.receive(pair[1])[0]["n"] for _ in range(2)] == [1, 2]


def takes(sock: socket.socket, number: int) -> bool:
    try:
        wire.send(sock, {"n": number})
    except BlockingIOError:
        return False
    return True


def test_a_full_socket_takes_nothing_and_does_not_block(pair: Pair) -> None:
    pair[0].settimeout(0)
    sent = 0
    while takes(pair[0], sent):
        sent += 1
    assert [wire.receive(pair[1])[0]["n"] for _ in range(sent)] == list(range(sent))


@pytest.mark.parametrize(
    ("packet", "reason"),
    [(b"not json", "Expecting"), (b"[1]", "object"), (b"M", "Expecting"), (b"\xff", "decode")],
)
def test_what_is_no_message_is_refused_and_its_descriptors_closed(
    pair: Pair, packet: bytes, reason: str
) -> None:
    read_end, write_end = os.pipe()
    socket.send_fds(pair[0], [packet], [] if packet == b"M" else [write_end])
    os.close(write_end)
    with pytest.raises(ValueError, match=reason):
        wire.receive(pair[1])
    assert os.read(read_end, 1) == b""
    os.close(read_end)


def test_a_packet_too_long_for_a_message_is_refused(pair: Pair) -> None:
    pair[0].send(b"x" * (wire.INLINE_BYTES + 1))
    with pytest.raises(ValueError, match="cut off"):
        wire.receive(pair[1])


def test_the_end_of_the_connection_is_said(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(EOFError):
        wire.receive(pair[1])

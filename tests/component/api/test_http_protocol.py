"""The hardened HTTP protocol and the server around it, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed

from api import http_protocol
from api import server as server_module
from api.http_protocol import HEADER_BYTES
from api.listeners import UnixListener
from api.server import Server
from tests.component.api.conftest import Serve, tcp_address, unix_path

REQUEST = b"GET /x HTTP/1.1\r\nhost: h\r\n"


class Echo:
    """Answers with the body it got; notes the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(where: str | tuple[str, int]) -> AsyncIterator[Streams]:
    if isinstance(where, str):
        reader, writer = await asyncio.open_unix_connection(where)
    else:
        reader, writer = await asyncio.open_connection(*where)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def refusal(streams: Streams) -> bytes:
    """All that the server says until it ends the connection."""
    reader, _ = streams
    with suppress(ConnectionError):
        return await reader.read()
    return b""


def beside_socket(server: Server) -> list[str]:
    return [entry.name for entry in Path(unix_path(server)).parent.iterdir()]


def modes(path: str) -> tuple[int, int]:
    """The modes of a file and of its folder."""
    file = Path(path)
    return stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)


def remove_folder(server: Server) -> None:
    path = Path(unix_path(server))
    path.unlink()
    path.parent.rmdir()


async def test_both_listeners_answer_and_only_the_unix_one_names_its_peer(serve: Serve) -> None:
    echo = Echo()
    server = await serve(echo)
    for where in (unix_path(server), tcp_address(server)):
        async with connected(where) as (reader, writer):
            writer.write(REQUEST + b"content-length: 2\r\n\r\nhi")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert echo.scopes[0]["state"]["peer"] == (os.getpid(), os.getuid(), os.getgid())
    assert "peer" not in echo.scopes[1]["state"]


async def test_a_websocket_knows_its_peer_too(serve: Serve) -> None:
    echo = Echo()
    server = await serve(echo)
    async with unix_connect(unix_path(server)):
        pass
    assert echo.scopes[0]["type"] == "websocket"
    assert echo.scopes[0]["state"]["peer"][1] == os.getuid()


async def test_a_header_that_does_not_arrive_ends_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_DEADLINE_S", 0.05)
    echo = Echo()
    server = await serve(echo)
    for sent in (b"", b"GET", REQUEST, REQUEST + b"\r\n" + REQUEST):
        async with connected(unix_path(server)) as streams:
            streams[1].write(sent)
            await refusal(streams)
    assert len(echo.scopes) == 1  # the whole request before the half one


async def test_a_body_may_take_longer_than_the_header(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline = asyncio.Event()
    monkeypatch.setattr(http_protocol, "HEADER_DEADLINE_S", 0.05)
    server = await serve(Echo())
    async with connected(unix_path(server)) as (reader, writer):
        writer.write(REQUEST + b"content-length: 2\r\n\r\nh")
        asyncio.get_running_loop().call_later(0.1, deadline.set)
        await deadline.wait()
        writer.write(b"i")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "start",
    [
        REQUEST + b"x-long: ",
        b"GET /",
        REQUEST + b"transfer-encoding: chunked\r\n\r\n0\r\nx-trailer: ",
    ],
)
async def test_twenty_megabytes_of_header_are_refused_early(serve: Serve, start: bytes) -> None:
    server = await serve(Echo())
    async with connected(unix_path(server)) as streams:
        streams[1].write(start)
        sent = 0
        with suppress(ConnectionError):
            for _ in range(320):
                streams[1].write(b"x" * 65536)
                await streams[1].drain()
                sent += 65536
        assert sent < 20 * 1024 * 1024
        await refusal(streams)


async def test_a_long_header_in_one_piece_is_refused_in_words(serve: Serve) -> None:
    echo = Echo()
    server = await serve(echo)
    async with connected(unix_path(server)) as streams:
        streams[1].write(REQUEST + b"x-long: " + b"x" * HEADER_BYTES + b"\r\n\r\n")
        said = await refusal(streams)
    assert said.startswith(b"HTTP/1.1 431")
    assert b'"TOO_LARGE"' in said
    assert echo.scopes == []


async def test_many_requests_on_one_connection_are_not_one_long_header(serve: Serve) -> None:
    server = await serve(Echo())
    async with connected(unix_path(server)) as (reader, writer):
        for _ in range(50):
            writer.write(REQUEST + b"x-some: " + b"x" * 4096 + b"\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"0\r\n\r\n")


async def test_a_large_body_is_no_header(serve: Serve) -> None:
    server = await serve(Echo())
    body = b"y" * (4 * HEADER_BYTES)
    async with connected(unix_path(server)) as (reader, writer):
        writer.write(REQUEST + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_not_http_is_refused_in_the_shape_of_all_errors(
    serve: Serve, sent: bytes
) -> None:
    server = await serve(Echo())
    async with connected(unix_path(server)) as streams:
        streams[1].write(sent)
        said = await refusal(streams)
    assert said.startswith(b"HTTP/1.1 400")
    assert b'{"error":{"code":"BAD_REQUEST"' in said


async def test_length_and_chunks_together_are_refused(serve: Serve) -> None:
    echo = Echo()
    server = await serve(echo)
    both = b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    async with connected(unix_path(server)) as streams:
        streams[1].write(REQUEST + both)
        assert (await refusal(streams)).startswith(b"HTTP/1.1 400")
    assert echo.scopes == []


async def test_too_many_connections_are_refused_and_tcp_takes_none_of_the_last(
    serve: Serve,
) -> None:
    server = await serve(Echo(), connections=20)
    tcp, unix = tcp_address(server), unix_path(server)
    held = [await asyncio.open_connection(*tcp) for _ in range(18)]
    async with connected(tcp) as streams:
        assert (await refusal(streams)).startswith(b"HTTP/1.1 503")
    async with connected(unix) as (reader, writer):
        writer.write(REQUEST + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    for _, writer in held:
        writer.close()
        await writer.wait_closed()


async def test_the_socket_is_private_and_leaves_nothing_beside_it(serve: Serve) -> None:
    server = await serve(Echo())
    assert modes(unix_path(server)) == (0o600, 0o700)
    assert beside_socket(server) == ["holdfast.sock"]


async def test_a_socket_whose_folder_went_is_bound_again_and_old_connections_go_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WATCH_S", 0.01)
    bound = asyncio.Queue[UnixListener]()

    def bind(listener: UnixListener) -> socket.socket:
        made = really_bind(listener)
        bound.put_nowait(listener)
        return made

    really_bind = UnixListener.bind
    monkeypatch.setattr(UnixListener, "bind", bind)
    server = await serve(Echo())
    await bound.get()
    async with connected(unix_path(server)) as (reader, writer):
        remove_folder(server)
        await bound.get()
        async with connected(unix_path(server)) as (newer, newly):
            newly.write(REQUEST + b"\r\n")
            assert (await newer.readline()).startswith(b"HTTP/1.1 200")
        writer.write(REQUEST + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_accepted_tcp_connections_have_small_send_buffers(serve: Serve) -> None:
    server = await serve(Echo())
    async with connected(tcp_address(server)):
        listener = server._tcp
        assert listener is not None
        size = listener.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert size <= 2 * 131072  # the kernel doubles what was asked for (socket(7))


async def test_at_the_end_websockets_are_told_1012(serve: Serve) -> None:
    server = await serve(Echo())
    async with unix_connect(unix_path(server)) as connection:
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012

"""What an HTTP condition may ask, and what it takes for an answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from api import http_probe
from api.http_probe import HttpProbe
from supervisor.senses import HttpAnswer


@asynccontextmanager
async def server(answer: bytes | None, host: str = "127.0.0.1") -> AsyncIterator[list[bytes]]:
    """Answers each connection with these bytes, or never; yields the port and what was asked."""
    asked: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, host, 0)
    port = listening.sockets[0].getsockname()[1]
    asked.append(str(port).encode())
    try:
        yield asked
    finally:
        listening.close()
        await listening.wait_closed()
        await asyncio.gather(*serving)


def url_of(port: bytes, host: str = "127.0.0.1", path: str = "/") -> str:
    return f"http://{host}:{port.decode()}{path}"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "http://LOCALHOST:8080/a?b=c",
        "http://app.localhost:80/",
        "http://127.1.2.3/",
        "https://[::1]:8443/",
    ],
)
def test_loopback_may_be_asked(url: str) -> None:
    assert HttpProbe().refusal(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:80",
        "ftp://localhost/",
        "file:///etc/passwd",
        "http://",
        "http://:80/",
        "http://localhost:0/",
        "http://localhost:99999/",
        "http://[::1/",
        "http://localhost/a b",
        "http://localhost/\r\nX: y",
        "http://localhost/\u00fc",
        "http://me:secret@localhost/",
        "http://localhost/" + "x" * 2048,
        "http://example.org/",
        "http://localhost.example.org/",
        "http://169.254.169.254/latest",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://127.1/",
        "http://[::ffff:10.0.0.1]/",
    ],
)
async def test_nothing_else_may_be_asked(url: str) -> None:
    probe = HttpProbe()
    assert probe.refusal(url)
    assert (await probe.get(url)).status is None


def test_hosts_of_the_settings_may_be_asked_too() -> None:
    assert HttpProbe(["Example.org"]).refusal("http://example.ORG/") is None
    assert HttpProbe(["example.org"]).refusal("http://other.org/")
    assert HttpProbe(["*"]).refusal("http://other.org/") is None


@pytest.mark.parametrize("status", [200, 204, 302, 404, 503])
async def test_the_status_is_the_answer_and_no_redirect_is_followed(status: int) -> None:
    said = b"HTTP/1.1 %d Whatever\r\nLocation: http://10.0.0.1/\r\n\r\n" % status
    async with server(said) as asked:
        url = url_of(asked[0], path="/health?full=1")
        assert await HttpProbe().get(url) == HttpAnswer(status)
    assert len(asked) == 2
    assert asked[1].startswith(b"GET /health?full=1 HTTP/1.1\r\nHost: 127.0.0.1:%b\r\n" % asked[0])


async def test_localhost_is_found_on_ipv6_too() -> None:
    async with server(b"HTTP/1.0 200 OK\r\n\r\n", "::1") as asked:
        assert await HttpProbe().get(url_of(asked[0], "localhost")) == HttpAnswer(200)


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n", b"HTTP/1.1 999 x\r\n", b"x" * 100_000]
)
async def test_what_is_not_http_is_no_answer(said: bytes) -> None:
    async with server(said) as asked:
        answer = await HttpProbe().get(url_of(asked[0]))
    assert answer == HttpAnswer(error="what answered is not HTTP/1")


async def test_a_port_without_a_server_is_said_so() -> None:
    with socket.socket() as bound:  # bound and not listening: nobody else gets it meanwhile
        bound.bind(("127.0.0.1", 0))
        answer = await HttpProbe().get(url_of(str(bound.getsockname()[1]).encode()))
    assert answer.status is None
    assert "refused" in str(answer.error)


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "TRY_S", 0.05)
    async with server(None) as asked:
        answer = await HttpProbe().get(url_of(asked[0]))
    assert answer == HttpAnswer(error="no answer within 0.05 s")


@pytest.mark.parametrize(
    ("answer", "wanted", "holds"),
    [
        (HttpAnswer(200), None, True),
        (HttpAnswer(399), None, True),
        (HttpAnswer(400), None, False),
        (HttpAnswer(101), None, False),
        (HttpAnswer(404), 404, True),
        (HttpAnswer(200), 404, False),
        (HttpAnswer(error="x"), None, False),
    ],
)
def test_which_status_will_do(answer: HttpAnswer, wanted: int | None, holds: bool) -> None:
    assert answer.is_status(wanted) is holds

"""One GET of a URL for a wait: nothing but its status is wanted.

Rules
- Only this machine's loopback is asked, unless `wait.http_hosts` names the host: whoever may wait
  must not reach through the daemon what they could not reach themselves (SSRF).
- `localhost` is 127.0.0.1 and ::1 without asking a name server (RFC 6761, 6.3); every other name is
  looked up once, so that what is connected to is what was found.
- At most 2 s from the look-up to the status line, of which 4 KiB are read. No redirect is followed,
  no body read, no proxy of the environment used.
- A certificate is not checked on loopback, where a development server's rarely is a good one.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from supervisor.senses import HttpAnswer

__all__ = ["HttpProbe"]

TRY_S: Final = 2.0
_LINE_BYTES: Final = 4096
_URL_CHARACTERS: Final = 2048
_PRINTABLE: Final = re.compile(r"[!-~]+")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])\b")
_MOST_AT_ONCE: Final = 64
_LOOPBACK: Final = ("127.0.0.1", "::1")
_PORTS: Final = {"http": 80, "https": 443}


class HttpProbe:
    """Asks URLs. `hosts` may be asked beside loopback; `*` is any."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)

    def refusal(self, url: str) -> str | None:
        """Return in one sentence why this URL is not asked; None when it may be."""
        if len(url) > _URL_CHARACTERS or not _PRINTABLE.fullmatch(url):
            return f"A URL is printable ASCII without spaces, at most {_URL_CHARACTERS} characters."
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            return f"That is no URL: {error}."
        if parts.scheme not in _PORTS or not parts.hostname or port == 0:
            return "A URL here is http://host[:port]/path, or https://."
        if parts.username is not None or parts.password is not None:
            return "A URL here carries no user and no password: whoever waits would be shown them."
        if not self._is_allowed(parts.hostname):
            return (
                f"{parts.hostname} is not loopback: give localhost, 127.0.0.1 or [::1], or add "
                "the host to the setting wait.http_hosts."
            )
        return None

    async def get(self, url: str) -> HttpAnswer:
        """Ask once; why there was no status is an `error`, never an exception."""
        refusal = self.refusal(url)
        if refusal is not None:
            return HttpAnswer(error=refusal)
        async with self._turns:
            try:
                async with asyncio.timeout(TRY_S):
                    return await _first_answer(urlsplit(url))
            except TimeoutError:
                return HttpAnswer(error=f"no answer within {TRY_S:g} s")

    def _is_allowed(self, host: str) -> bool:
        return _is_loopback(host) or host.lower() in self._hosts or "*" in self._hosts


def _is_loopback(host: str) -> bool:
    if _is_localhost(host):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_localhost(host: str) -> bool:
    return host.lower() == "localhost" or host.lower().endswith(".localhost")


async def _first_answer(url: SplitResult) -> HttpAnswer:
    """Ask each address of the host until one answers with a status."""
    answer = HttpAnswer(error="no address")
    for address in _LOOPBACK if _is_localhost(url.hostname or "") else (url.hostname,):
        answer = await _ask(url, address)
        if answer.status is not None:
            break
    return answer


async def _ask(url: SplitResult, address: str | None) -> HttpAnswer:
    port = url.port or _PORTS[url.scheme]
    tls = _tls(url) if url.scheme == "https" else None
    name = url.hostname if tls else None
    try:
        reader, writer = await asyncio.open_connection(
            address, port, limit=_LINE_BYTES, ssl=tls, server_hostname=name
        )
    except OSError as error:  # ssl.SSLError and socket.gaierror among them
        return HttpAnswer(error=_why(error))
    try:
        writer.write(_request(url))
        line = await reader.readline()
    except OSError as error:
        return HttpAnswer(error=_why(error))
    except ValueError:  # the line is longer than the limit
        line = b""
    finally:
        writer.transport.abort()
    found = _STATUS.match(line)
    if found is None:
        return HttpAnswer(error="what answered is not HTTP/1")
    return HttpAnswer(status=int(found[1]))


def _why(error: OSError) -> str:
    """Return the kernel's words: asyncio's own name the address instead of the reason."""
    if error.errno is None or isinstance(error, ssl.SSLError | socket.gaierror):
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()


def _request(url: SplitResult) -> bytes:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.netloc
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: holdfast\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode("ascii")


def _tls(url: SplitResult) -> ssl.SSLContext:
    if not _is_loopback(url.hostname or ""):
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loads no authorities, which takes 20 ms
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

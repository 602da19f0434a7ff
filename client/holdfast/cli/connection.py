"""Plain calls to one daemon with the standard library alone, for commands that must start fast.

Rules
- A call is sent again after a broken connection only when that is harmless: it reads, or the
  server knows it again by the ID it carries (a session's, a command's). The same holds for a call
  that an ending daemon refused.
- Answers are JSON as it came (`dict`, `list`): commands print most of it as it is.
- Exceptions of the HTTP library do not leave this module.

The SDK's transport does the same over httpx, whose import alone takes longer than `hold ls` may.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from holdfast.backoff import Backoff
from holdfast.errors import HoldfastError, NotReachable, ProtocolBroken, Unavailable, error_from

if TYPE_CHECKING:
    from holdfast.address import Address
    from holdfast.ssh import SshTarget
    from holdfast.tunnel import Tunnel

__all__ = ["Connection", "Query", "lines_of"]

CONNECT_S = 10.0
PAGE_SESSIONS = 500
READ_BYTES = 256 * 1024
ENDING = "The daemon is ending"  # how the refusal begins that the next daemon does not repeat

Query = Mapping[str, str | int | float | bool | Sequence[str] | None]


class Connection:
    """Calls to the daemon at `address`, one after the other.

    `unreachable` is called when nothing listens at a unix socket: it makes a daemon listen there,
    or raises. Without it, that is `NotReachable`. `was_reached` says whether anything ever took a
    connection: the first answer of a long poll may be an hour away.
    """

    def __init__(
        self, address: Address, unreachable: Callable[[Address], None] | None = None
    ) -> None:
        self.address = address
        self._unreachable = unreachable
        self._http: http.client.HTTPConnection | None = None
        self.was_reached = False

    def get(self, path: str, query: Query | None = None) -> Any:
        """GET; the decoded answer."""
        return self.call("GET", path, query=query, repeatable=True)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        repeatable: bool = False,
    ) -> Any:
        """Send one request and return the decoded JSON of the answer, None for an empty one.

        `body` is sent as JSON, or as it is when it is `bytes`. Raises the error that the daemon
        answered with, `NotReachable`, `ProtocolBroken`.
        """
        backoff = Backoff()
        while True:
            try:
                with self._response(method, path, query, body) as response:
                    content = response.read()
                return json.loads(content) if content else None
            except (NotReachable, Unavailable) as error:
                if isinstance(error, Unavailable) and not error.message.startswith(ENDING):
                    raise
                delay = backoff.delay() if repeatable and self.was_reached else None
                if delay is None:
                    raise
                time.sleep(delay)
            except ValueError as error:
                raise ProtocolBroken(f"the daemon's answer is not JSON: {error}") from error

    @contextmanager
    def stream(
        self, path: str, query: Query | None = None, accept: str = "*/*"
    ) -> Iterator[http.client.HTTPResponse]:
        """GET an answer that is read bit by bit; `NotReachable` when it breaks off."""
        with self._response("GET", path, query, None, accept) as response:
            yield response

    def sessions(self, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """Every session that the filters let pass, page by page."""
        cursor = None
        while True:
            asked = {"limit": PAGE_SESSIONS, "cursor": cursor, **(query or {})}
            page = self.get("/v1/sessions", asked)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._http is not None:
            self._http.close()
            self._http = None

    @contextmanager
    def _response(
        self, method: str, path: str, query: Query | None, body: Any, accept: str = "*/*"
    ) -> Iterator[http.client.HTTPResponse]:
        try:
            response = self._send(method, path, query, body, accept)
            if response.status >= http.client.BAD_REQUEST:
                raise _error_of(response.status, response.read())
            yield response
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, HoldfastError):
                raise
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NotReachable(f"no daemon answers at {self.address.shown}: {reason}") from error
        finally:
            if self._http is not None and not _is_idle(self._http):
                self.close()

    def _send(
        self, method: str, path: str, query: Query | None, body: Any, accept: str
    ) -> http.client.HTTPResponse:
        if self._http is None:
            self._http = self._connect()
        headers = {**self.address.headers(), "Accept": accept}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        self._http.request(method, _target(path, query), body, headers)
        return self._http.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        opened = _open(self.address, first=not self.was_reached)
        try:
            opened.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            if self._unreachable is None or self.address.socket is None:
                raise
            self._unreachable(self.address)
            opened.connect()
        self.was_reached = True
        if opened.sock is not None:
            opened.sock.settimeout(None)  # a stop answers when its grace is over
        return opened


class _SshConnection(http.client.HTTPConnection):
    """HTTP through an ssh process, which ends with it. `first` as for a tunnel."""

    def __init__(self, target: SshTarget, *, first: bool) -> None:
        super().__init__("localhost")
        self._target, self._first = target, first
        self._tunnel: Tunnel | None = None

    def connect(self) -> None:
        from holdfast.tunnel import open_tunnel

        self._tunnel = open_tunnel(self._target, first=self._first)
        self.sock = self._tunnel.sock

    def close(self) -> None:
        super().close()
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the host is only there for its header."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(CONNECT_S)
            opened.connect(self._path)
        except BaseException:  # an interrupt too; it goes on to the caller
            opened.close()
            raise
        self.sock = opened


def _open(address: Address, *, first: bool) -> http.client.HTTPConnection:
    if address.ssh is not None:
        return _SshConnection(address.ssh, first=first)
    if address.socket is not None:
        return _UnixConnection(str(address.socket))
    parts = urlsplit(address.base_url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=CONNECT_S)
    import ssl

    trusted = ssl.create_default_context(cafile=address.cacert)
    return http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_S, context=trusted)


def lines_of(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer. Raises `IncompleteRead` when it was broken off.

    `HTTPResponse.readline` takes a broken chunked answer for its end; only `read1` tells.
    """
    held = b""
    while piece := response.read1(READ_BYTES):
        *whole, held = (held + piece).split(b"\n")
        yield from whole
    if held or response.length:
        raise http.client.IncompleteRead(held)


def _target(path: str, query: Query | None) -> str:
    pairs: list[tuple[str, str]] = []
    for key, value in (query or {}).items():
        if value is None:
            continue
        values = [value] if isinstance(value, str | int | float) else value
        pairs += [(key, _text(one)) for one in values]
    return path + ("?" + urlencode(pairs) if pairs else "")


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_idle(connection: http.client.HTTPConnection) -> bool:
    """Whether the last answer was read to its end, so that another request may follow.

    http.client keeps the answer it waits for in a private attribute and refuses the next request
    while it is there (`CannotSendRequest`); asking costs no request.
    """
    response: http.client.HTTPResponse | None = getattr(
        connection, "_HTTPConnection__response", None
    )
    return connection.sock is not None and (response is None or response.isclosed())


def _error_of(status: int, content: bytes) -> HoldfastError:
    try:
        error = json.loads(content)["error"]
        return error_from(error["code"], error["message"], error.get("details"), status)
    except (ValueError, KeyError, TypeError):
        text = content[:200].decode(errors="replace")
        return ProtocolBroken(f"the daemon answered {status}: {text}", status=status)

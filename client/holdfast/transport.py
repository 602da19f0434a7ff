"""HTTP to one daemon, through its restarts.

Rules
- A daemon that never answered this client is reported at once; one that did is tried again until
  `patience_s` is over.
- A request is sent again only when that is harmless: it did not reach a server, or it is repeatable
  (it reads, or carries the ID by which the server knows it again).
- Exceptions of the HTTP library do not leave this module.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from holdfast.address import Address
from holdfast.backoff import PATIENCE_S, Backoff
from holdfast.errors import HoldfastError, NotReachable, ProtocolBroken, error_from
from holdfast.places import local_socket
from holdfast.tunnel import TunnelFailed
from holdfast.wire import ErrorAnswer

if TYPE_CHECKING:
    import httpx

__all__ = ["Call", "Reply", "Transport"]

T = TypeVar("T")
CONNECT_S = 10.0
READ_S = 75.0  # above the 50 s for which the server may hold an answer back
Query = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `body` is sent as JSON, `content` as it is.

    `slow` says that the answer may take any time: no answer within the read timeout is no failure,
    the request (which must be repeatable) is just sent again.
    """

    method: str
    path: str
    query: Query | None = None
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    repeatable: bool = True
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of status below 400. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def decode(self, type_: type[T]) -> T:
        """Return the JSON body as a value of `type_`; `ProtocolBroken` when it is not one."""
        try:
            return msgspec.json.decode(self.content, type=type_)
        except msgspec.MsgspecError as error:
            raise ProtocolBroken(f"the server's answer is not understood: {error}") from error


class Transport:
    """A pool of connections to one daemon. `patience_s` bounds how long a restart may take."""

    def __init__(self, address: Address, *, patience_s: float = PATIENCE_S) -> None:
        self.address = address
        self.patience_s = patience_s
        self.reached = False
        self._client: httpx.AsyncClient | None = None

    async def request(self, call: Call) -> Reply:
        """Send a request and return the answer; errors of the server are raised."""
        backoff = Backoff(self.patience_s)
        repeated = False
        while True:
            try:
                return await self._once(call)
            except HoldfastError as error:
                error.repeated = repeated
                raise
            except _Lost as lost:
                repeated = repeated or lost.was_sent
                if lost.was_slow and call.slow:
                    backoff.reset()
                    continue
                harmless = call.repeatable or not lost.was_sent
                delay = backoff.delay() if harmless and self.reached else None
                if delay is None:
                    raise self.unreachable(lost.cause) from None
            await asyncio.sleep(delay)

    async def ask(self, type_: type[T], call: Call) -> T:
        """Send a request and return its JSON answer as a value of `type_`."""
        return (await self.request(call)).decode(type_)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[httpx.Response]:
        """Open an answer that is read bit by bit, without a second try.

        Raises `NotReachable` when it cannot be opened and when it breaks off in the middle.
        """
        import httpx  # noqa: PLC0415  (110 ms that `import holdfast` should not cost)

        request = self._build(call, read_s=None)
        try:
            response = await self._pool().send(request, stream=True)
            self.reached = True
            try:
                if response.is_error:
                    raise _error_of(response.status_code, await response.aread())
                yield response
            finally:
                await response.aclose()
        except (httpx.TransportError, TunnelFailed) as error:
            raise self.unreachable(error) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    def unreachable(self, error: BaseException) -> NotReachable:
        """The error to raise when connections to this daemon fail like `error`."""
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        own = self.address.socket is not None and self.address.socket == local_socket()
        then = "; any `hold` command starts one" if own else ""
        return NotReachable(f"no daemon answers at {self.address.shown}: {reason}{then}")

    async def _once(self, call: Call) -> Reply:
        import httpx  # noqa: PLC0415  (as above)

        try:
            response = await self._pool().send(self._build(call, read_s=READ_S))
        except (httpx.ConnectError, httpx.ConnectTimeout, TunnelFailed) as error:
            raise _Lost(error, was_sent=False) from error
        except httpx.ReadTimeout as error:
            raise _Lost(error, was_slow=True) from error
        except httpx.TransportError as error:
            raise _Lost(error) from error
        self.reached = True
        if response.is_error:
            raise _error_of(response.status_code, response.content)
        return Reply(response.status_code, response.headers, response.content)

    def _build(self, call: Call, read_s: float | None) -> httpx.Request:
        import httpx  # noqa: PLC0415  (as above)

        content, headers = call.content, dict(call.headers or {})
        if call.body is not None:
            content = msgspec.json.encode(call.body)
            headers["Content-Type"] = "application/json"
        query = {
            key: _text(value) for key, value in (call.query or {}).items() if value is not None
        }
        return self._pool().build_request(
            call.method,
            call.path,
            params=query or None,
            content=content,
            headers=headers,
            timeout=httpx.Timeout(CONNECT_S, read=read_s, write=READ_S),
        )

    def _pool(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = _open(self)
        return self._client


class _Lost(Exception):
    """The request got no answer. `was_sent`: the server may have seen it."""

    def __init__(self, cause: Exception, *, was_sent: bool = True, was_slow: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.was_sent = was_sent
        self.was_slow = was_slow


def _open(transport: Transport) -> httpx.AsyncClient:
    import ssl  # noqa: PLC0415  (httpx needs it anyway)

    import httpx  # noqa: PLC0415  (as above)

    address = transport.address
    # Building a TLS context reads every certificate of the system, 20 ms that only https needs.
    secure = address.base_url.startswith("https:")
    verify = ssl.create_default_context(cafile=address.cacert) if secure else False
    uds = str(address.socket) if address.socket else None
    # As many connections as calls: a pool that is full of calls that wait would stall the next.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    own: httpx.AsyncBaseTransport | None = None
    if address.ssh is not None:
        from holdfast.ssh_transport import ssh_transport  # noqa: PLC0415  (imports httpcore)

        own = ssh_transport(address.ssh, lambda: not transport.reached)
    elif not address.uses_proxy:
        own = httpx.AsyncHTTPTransport(uds=uds, verify=verify, limits=limits, trust_env=False)
    return httpx.AsyncClient(
        base_url=address.base_url,
        headers=address.headers(),
        transport=own,
        verify=verify,
        limits=limits,
        trust_env=address.uses_proxy,
    )


def _text(value: Any) -> Any:
    """A query value as the server reads it; a list stays one, for repeated fields."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return [str(item) for item in value] if isinstance(value, list | tuple) else str(value)


def _error_of(status: int, content: bytes) -> HoldfastError:
    try:
        body = msgspec.json.decode(content, type=ErrorAnswer).error
    except msgspec.MsgspecError:
        text = content[:200].decode(errors="replace")
        return ProtocolBroken(f"the server answered {status}: {text}", status=status)
    return error_from(body.code, body.message, body.details, status)

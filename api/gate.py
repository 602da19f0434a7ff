"""Who may come in: one ASGI gate before everything, closed by default, for HTTP and WebSocket.

Rules
- Only `OPEN` answers without a credential. What is neither HTTP nor WebSocket is not answered.
- The unix socket admits the daemon's own user and root, whoever else reaches it is refused (403).
- TCP takes `Authorization: Bearer hf_...` of a known token (else 401), one `Host` that names this
  daemon (else 403: DNS rebinding), and no `Origin` but that same host.
- A WebSocket is refused by an HTTP answer before the upgrade.
- Routes find the caller in `scope["holdfast.by"]`, a `By`, and only there.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import (
    ApiError,
    BadRequest,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    answer,
)
from supervisor.records import By, Token

__all__ = ["OPEN", "Gate", "Hosts", "secret_hash"]

OPEN: Final = frozenset({"/healthz", "/readyz"})

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

_log = structlog.get_logger("api.gate")


def secret_hash(secret: str) -> str:
    """Return the SHA-256 (hex) under which a token is stored; 256 random bits need no more."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Hosts:
    """The names in `Host` by which this daemon may be reached over TCP."""

    def __init__(self, names: Iterable[str], bound: Iterable[str]) -> None:
        """`bound` are the addresses listened on; a wildcard among them allows any address.

        An address cannot be rebound to another machine, as a name can.
        """
        addresses = [ipaddress.ip_address(text) for text in bound]
        self._any_address = any(address.is_unspecified for address in addresses)
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._names.update(str(address) for address in addresses)

    def allow(self, host: str) -> bool:
        """Return whether a `Host` header's value, with or without a port, is one of them."""
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = parts["name"].lower().strip("[]").rstrip(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


class Gate:
    """The outermost ASGI application: lets a request through with its caller, or answers it.

    `tokens` returns the tokens of the moment, by `secret_hash`.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Callable[[], Mapping[str, Token]],
        hosts: Hosts,
        own_uid: int | None = None,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._hosts = hosts
        self._admitted = {0, os.getuid() if own_uid is None else own_uid}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return
        is_open = scope["type"] == "http" and scope["path"] in OPEN
        try:
            if not is_open:
                scope["holdfast.by"] = self._identify(scope)
        except ApiError as error:
            _log.warning("refused", path=scope["path"], why=error.message, client=scope["client"])
            await answer(error, _challenge(error))(scope, receive, send)
            return
        await _until_stopped(self._app, scope, receive, send)

    def _identify(self, scope: Scope) -> By:
        """Return the caller. Raises Unauthenticated, PermissionDenied or BadRequest."""
        peer: tuple[int, int, int] | None = scope["state"].get("peer")
        if peer is not None:
            pid, uid, _gid = peer
            if uid not in self._admitted:
                raise PermissionDenied("This socket serves its own user and root only.")
            return By(user=_user_name(uid), client=f"pid {pid}", via=_via(scope))
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._check_host(headers)
        token = self._find_token(headers)
        host, port = scope["client"] or ("?", 0)
        return By(token=token.accessor, user=token.name, client=f"{host}:{port}", via=_via(scope))

    def _check_host(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse a name that is not ours, and a page of another site."""
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            raise BadRequest("A request over TCP carries exactly one Host header.")
        if not self._hosts.allow(hosts[0]):
            raise PermissionDenied("The Host header names another host (listen.hosts allows more).")
        for name, value in headers:
            origin = value.decode("latin-1")
            if name == b"origin" and origin.partition("://")[2].lower() != hosts[0].lower():
                raise PermissionDenied("The Origin header names another site.")

    def _find_token(self, headers: list[tuple[bytes, bytes]]) -> Token:
        given = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            raise Unauthenticated("Give a token: Authorization: Bearer hf_...")
        scheme, _, secret = given[0].partition(" ")
        hashed = secret_hash(secret.strip())
        token = self._tokens().get(hashed) if scheme.lower() == "bearer" else None
        # The lookup compares hashes, which tell nothing of the secret; this costs nothing more.
        if token is None or not hmac.compare_digest(token.secret_hash, hashed):
            raise Unauthenticated("That token is not known.")
        return token


async def _until_stopped(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the application; a request cut off by the daemon's end is told so."""
    started = False

    async def noting(message: Message) -> None:
        nonlocal started
        started = started or message["type"] in ("http.response.start", "websocket.accept")
        await send(message)

    try:
        await app(scope, receive, noting)
    except asyncio.CancelledError:
        if not started:
            await answer(Unavailable("The daemon is ending."))(scope, receive, send)
        raise


def _via(scope: Scope) -> str:
    return "websocket" if scope["type"] == "websocket" else "http"


def _challenge(error: ApiError) -> dict[str, str]:
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}


@lru_cache(maxsize=64)
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

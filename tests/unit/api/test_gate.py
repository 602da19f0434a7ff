"""The gate: who comes in, who does not, on both kinds of listener and both kinds of scope."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from api.gate import Gate, Hosts, secret_hash
from supervisor.records import By, Token

OWN_UID = 1000
SECRET = "hf_right"
TOKEN = Token("acc1", secret_hash(SECRET), "ci", 0)
HOST = (b"host", b"127.0.0.1:4680")
BEARER = (b"authorization", b"Bearer hf_right")


class Inside:
    """The application behind the gate: notes who came."""

    def __init__(self) -> None:
        self.seen: list[By | None] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.seen.append(scope.get("holdfast.by"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def knock(
    kind: str, headers: list[tuple[bytes, bytes]], peer: Any = None, path: str = "/v1/sessions"
) -> tuple[int | None, list[By | None], bytes]:
    """Send one request to a gate; return the status, who came in, and the body."""
    inside, sent = Inside(), []
    gate = Gate(
        inside, lambda: {TOKEN.secret_hash: TOKEN}, Hosts(["box.example"], ["127.0.0.1"]), OWN_UID
    )

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope: dict[str, Any] = {
        "type": kind,
        "path": path,
        "headers": headers,
        "client": None if peer else ("10.0.0.9", 555),
        "state": {"peer": peer} if peer else {},
        "extensions": {"websocket.http.response": {}},
    }
    await gate(scope, receive, send)
    prefix = "" if inside.seen or kind == "http" else "websocket."
    assert all(message["type"].startswith(f"{prefix}http.response") for message in sent)
    status = sent[0]["status"] if sent else None
    return status, inside.seen, b"".join(message.get("body", b"") for message in sent)


KINDS = pytest.mark.parametrize("kind", ["http", "websocket"])


@KINDS
@pytest.mark.parametrize("uid", [OWN_UID, 0])
async def test_its_own_user_and_root_come_in_by_the_unix_socket(kind: str, uid: int) -> None:
    status, seen, _ = await knock(kind, [], peer=(42, uid, uid))
    assert status == 200
    assert seen[0] is not None
    assert seen[0].client == "pid 42"
    assert seen[0].via == kind
    assert seen[0].token is None


@KINDS
async def test_another_user_does_not_even_with_a_token(kind: str) -> None:
    status, seen, body = await knock(kind, [HOST, BEARER], peer=(42, OWN_UID + 1, 5))
    assert (status, seen) == (403, [])
    assert msgspec.json.decode(body)["error"]["code"] == "PERMISSION_DENIED"


@KINDS
async def test_a_token_comes_in_by_tcp_under_its_name(kind: str) -> None:
    status, seen, _ = await knock(kind, [HOST, BEARER])
    assert status == 200
    assert seen == [By(token="acc1", user="ci", client="10.0.0.9:555", via=kind)]


@KINDS
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([HOST], 401),
        ([HOST, (b"authorization", b"Bearer hf_wrong")], 401),
        ([HOST, (b"authorization", b"Basic hf_right")], 401),
        ([HOST, (b"authorization", b"hf_right")], 401),
        ([HOST, (b"authorization", b"")], 401),
        ([HOST, BEARER, BEARER], 401),
        ([HOST, (b"authorization", b"Bearer \xff\xfe")], 401),
        ([HOST, (b"cookie", b"token=hf_right")], 401),
        ([BEARER], 400),
        ([HOST, HOST, BEARER], 400),
        ([(b"host", b"evil.example"), BEARER], 403),
        ([(b"host", b"localhost.evil.example"), BEARER], 403),
        ([(b"host", b"evil@localhost"), BEARER], 403),
        ([(b"host", b"192.168.1.7"), BEARER], 403),
        ([(b"host", b""), BEARER], 403),
        ([HOST, BEARER, (b"origin", b"http://evil.example")], 403),
        ([HOST, BEARER, (b"origin", b"null")], 403),
        ([HOST, BEARER, (b"origin", b"http://127.0.0.1:4681")], 403),
        ([HOST, BEARER, (b"origin", b"http://127.0.0.1:4680.evil.example")], 403),
    ],
)
async def test_everything_else_is_refused_before_the_application(
    kind: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    answered, seen, body = await knock(kind, headers)
    assert (answered, seen) == (status, [])
    assert b"hf_right" not in body


@KINDS
@pytest.mark.parametrize(
    "host", [b"localhost:4680", b"LOCALHOST.", b"[::1]:4680", b"127.0.0.1", b"box.example"]
)
async def test_the_names_of_this_daemon_are_allowed(kind: str, host: bytes) -> None:
    status, _, _ = await knock(kind, [(b"host", host), BEARER])
    assert status == 200


@KINDS
async def test_a_page_of_the_same_host_is_allowed(kind: str) -> None:
    status, _, _ = await knock(kind, [HOST, BEARER, (b"origin", b"http://127.0.0.1:4680")])
    assert status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_open_to_http_only(path: str) -> None:
    assert (await knock("http", [], path=path))[0] == 200
    assert (await knock("websocket", [], path=path))[0] == 400


@pytest.mark.parametrize("path", ["/healthz/", "//healthz", "/healthz/../v1/node", "/HEALTHZ"])
async def test_nothing_that_looks_like_health_is_open(path: str) -> None:
    assert (await knock("http", [HOST], path=path))[0] == 401


async def test_what_is_neither_http_nor_websocket_gets_no_answer() -> None:
    assert await knock("lifespan", []) == (None, [], b"")


def test_on_a_wildcard_address_any_address_is_allowed_but_no_foreign_name() -> None:
    hosts = Hosts([], ["0.0.0.0"])
    assert hosts.allow("192.168.1.7:4680")
    assert not hosts.allow("evil.example")


async def test_a_request_cut_off_by_the_end_is_told_so() -> None:
    sent: list[Any] = []
    begun = asyncio.Event()

    async def forever(_scope: Any, _receive: Any, _send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Gate(forever, dict, Hosts([], []), OWN_UID)
    scope: dict[str, Any] = {
        "type": "http",
        "path": "/healthz",
        "headers": [],
        "state": {},
        "client": None,
    }
    task = asyncio.ensure_future(gate(scope, None, send))  # type: ignore[arg-type]
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent[0]["status"] == 503

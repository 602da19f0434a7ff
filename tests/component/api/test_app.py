"""The application behind its gate: every route refuses strangers, and OpenAPI tells the truth."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from api.answers import Services
from api.app import build
from api.gate import Hosts
from api.metrics import Metrics
from api.openapi import Row, as_page, document
from api.routes import ROWS
from api.senses import SystemSenses
from api.settings import Settings
from api.views import SessionViews
from supervisor.clock import SystemClock

OWN_UID = 4242
HOST = (b"host", b"localhost")


def stub() -> Any:
    """A supervisor that nobody may reach: only its tokens are looked at."""
    return SimpleNamespace(tokens={}, feed=None, clock=SystemClock(), sessions=list)


async def ask(
    kind: str, method: str, path: str, *, headers: Any = (HOST,), peer: Any = None
) -> tuple[int, bytes]:
    """Send one request through the whole application; return status and body."""
    sent: list[Any] = []
    supervisor = stub()
    shared = Services(
        supervisor=supervisor,
        settings=Settings(),
        views=SessionViews(supervisor.clock),
        metrics=Metrics(supervisor, "1"),
        listeners=list,
        stop=lambda: None,
        senses=SystemSenses(),
    )
    app = build(shared, Hosts([], []))

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("10.0.0.9", 1),
        "state": {"peer": peer} if peer else {},
        "extensions": {"websocket.http.response": {}},
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


STRANGERS: dict[str, tuple[dict[str, Any], int]] = {
    "no credentials": ({}, 401),
    "a wrong token": ({"headers": (HOST, (b"authorization", b"Bearer hf_wrong"))}, 401),
    "another user": ({"peer": (1, OWN_UID, OWN_UID)}, 403),
}


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (kind, row)
        for kind in ("http", "websocket")
        for row in ROWS
        if kind != "http" or not row.open
    ],
    ids=lambda value: f"{value.method} {value.path}" if isinstance(value, Row) else value,
)
@pytest.mark.parametrize("stranger", STRANGERS)
async def test_every_route_refuses_strangers(kind: str, row: Row, stranger: str) -> None:
    given, status = STRANGERS[stranger]
    method = "GET" if row.method == "WEBSOCKET" else row.method
    answered, body = await ask(kind, method, row.path.replace("{", "").replace("}", ""), **given)
    assert answered == status
    assert msgspec.json.decode(body)["error"]["code"] in ("UNAUTHENTICATED", "PERMISSION_DENIED")


@pytest.mark.parametrize("path", ["/", "/v1", "/nothing", "/v1/sessions/", "/docs/x"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_is_no_route_refuses_strangers_too(path: str, kind: str) -> None:
    assert (await ask(kind, "GET", path))[0] == 401


def test_only_health_is_open() -> None:
    assert {row.path for row in ROWS if row.open} == {"/healthz", "/readyz"}


async def test_no_route_and_no_method_are_said_in_the_shape_of_all_errors() -> None:
    root = (1, 0, 0)
    assert (await ask("http", "GET", "/nothing", peer=root))[0] == 404
    status, body = await ask("http", "PUT", "/v1/sessions", peer=root)
    assert status == 405
    assert set(msgspec.json.decode(body)["error"]) == {"code", "message", "details"}


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(refs, value.values()))
    return set().union(*map(refs, value)) if isinstance(value, list) else set()


def test_openapi_names_every_route_and_every_reference_leads_somewhere() -> None:
    made = msgspec.to_builtins(document(ROWS, "1"))
    operations = [
        (path, method, operation)
        for path, methods in made["paths"].items()
        for method, operation in methods.items()
    ]
    assert made["openapi"] == "3.1.0"
    assert len(operations) == len(ROWS)
    assert len({operation["operationId"] for _, _, operation in operations}) == len(ROWS)
    for path, _, operation in operations:
        declared = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
        assert all(status.isdecimal() for status in operation["responses"])
    schemas = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert refs(made) <= schemas


def test_the_page_of_the_routes_loads_nothing() -> None:
    page = as_page(ROWS, "1<2")
    assert "1&lt;2" in page
    assert not re.search(r"<(script|link|img|style)|https?://", page)
    assert all(row.path in page for row in ROWS)

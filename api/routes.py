"""All routes of the daemon, in one table: the application and its OpenAPI are made from it."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api import control, events, node, output, sessions, tokens
from api.answers import Json
from api.attach import attach
from api.exec import post_exec
from api.input import FIELDS as INPUT_FIELDS
from api.input import post_input
from api.list_query import FILTERS
from api.metrics import CONTENT_TYPE
from api.openapi import Row, as_page, document
from api.session_logs import FIELDS as LOG_FIELDS
from api.session_logs import get_logs
from api.wait import get_wait, post_wait
from holdfast import wire

__all__ = ["ROWS", "routes"]

_SESSION: Final = "/v1/sessions/{id}"
_BYTES: Final = "application/octet-stream"


async def openapi(_request: Request) -> Response:
    """Answer with the OpenAPI document of this table."""
    return Json(document(ROWS, node.VERSION))


async def docs(_request: Request) -> Response:
    """Answer with a page that lists this table."""
    return HTMLResponse(as_page(ROWS, node.VERSION))


def _get(path: str, endpoint: Any, summary: str, answer: Any = None, **more: Any) -> Row:
    return Row(method="GET", path=path, endpoint=endpoint, summary=summary, answer=answer, **more)


def _post(path: str, endpoint: Any, summary: str, body: Any, answer: Any, **more: Any) -> Row:
    return Row(
        method="POST",
        path=path,
        endpoint=endpoint,
        summary=summary,
        body=body,
        answer=answer,
        **more,
    )


_NODE: Final = (
    _get("/healthz", node.healthz, "Whether the daemon turns", dict[str, str], open=True),
    _get("/readyz", node.readyz, "Whether sessions can be served", dict[str, Any], open=True),
    _get("/metrics", node.metrics, "Numbers for Prometheus", CONTENT_TYPE),
    _get("/openapi.json", openapi, "This table as OpenAPI", dict[str, Any]),
    _get("/docs", docs, "This table as a page", "text/html"),
    _get("/v1/node", node.node, "What this node is", wire.NodeView),
    _post(
        "/v1/node/shutdown",
        node.shutdown,
        "End the daemon",
        None,
        dict[str, str],
        query=("kill_sessions",),
    ),
    _post("/v1/prune", node.prune, "Forget finished sessions", None, dict[str, list[str]]),
    _post(
        "/v1/tokens",
        tokens.create,
        "Make a token",
        wire.TokenRequest,
        wire.TokenCreated,
        status=201,
    ),
    _get(
        "/v1/events",
        events.get,
        "What happened: a page, or a stream of server-sent events",
        dict[str, Any],
        query=("after", "limit", "type", "label", "name", "session"),
    ),
    _get("/v1/commands/{command_id}", control.receipt, "One receipt", wire.ReceiptView),
)

_SESSIONS: Final = (
    _post(
        "/v1/sessions",
        sessions.create,
        "Start a session; 200 for one that is there already",
        wire.SessionRequest,
        wire.SessionCreated,
        status=201,
    ),
    _get(
        "/v1/sessions",
        sessions.list_,
        "List sessions",
        wire.SessionPage,
        query=(*FILTERS, "sort", "limit", "cursor", "usage"),
    ),
    _get(_SESSION, sessions.get, "One session, with usage and ports", wire.SessionView),
    Row(
        method="PATCH",
        path=_SESSION,
        endpoint=sessions.patch,
        summary="Change name or labels",
        body=wire.SessionPatch,
        answer=wire.SessionView,
    ),
    Row(
        method="DELETE",
        path=_SESSION,
        endpoint=sessions.remove,
        summary="Forget a finished session",
        status=204,
        query=("force",),
    ),
    *(
        _post(f"{_SESSION}/{verb}", endpoint, f"Control: {verb}", body, wire.ReceiptView)
        for verb, (body, endpoint) in control.VERBS.items()
    ),
)

_EXEC: Final = (
    *(
        _post(
            f"{prefix}/machines/{{id}}/exec",
            post_exec,
            "Run a command and wait for its end",
            wire.ExecRequest,
            wire.ExecResult,
        )
        for prefix in ("/v1", "")
    ),
)

_STREAMS: Final = (
    _post(f"{_SESSION}/wait", post_wait, "Wait", wire.WaitRequest, wire.WaitResult),
    _get(
        f"{_SESSION}/wait",
        get_wait,
        "Wait for one simple condition",
        wire.WaitResult,
        query=("for", "from_offset", "generation", "timeout"),
    ),
    _get(
        f"{_SESSION}/output",
        output.get_output,
        "Read output",
        _BYTES,
        query=output.FIELDS,
    ),
    _get(
        "/v1/logs",
        get_logs,
        "Lines of many sessions by time: JSON lines, or server-sent events",
        "application/jsonl",
        query=LOG_FIELDS,
    ),
    _post(
        f"{_SESSION}/input",
        post_input,
        "Write input; the body is not limited",
        _BYTES,
        wire.InputAccepted,
        query=INPUT_FIELDS,
    ),
    Row(
        method="WEBSOCKET",
        path=f"{_SESSION}/attach",
        endpoint=attach,
        summary="Attach",
        status=101,
        query=("offset", "tail_bytes", "role", "takeover", "on_slow", "client"),
    ),
)

# Starlette tries one row after the other, 1 us each: what is asked most often stands first.
ROWS: Final = (*_EXEC, *_SESSIONS, *_STREAMS, *_NODE)


def routes() -> list[BaseRoute]:
    """Return the table as Starlette's routes."""
    return [_route(row) for row in ROWS]


def _route(row: Row) -> BaseRoute:
    if row.method != "WEBSOCKET":
        return Route(row.path, row.endpoint, methods=[row.method])
    route = WebSocketRoute(row.path, row.endpoint)
    # Starlette would wrap a function as `endpoint(websocket)`; ours is an ASGI application.
    route.app = row.endpoint
    return route

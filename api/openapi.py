"""OpenAPI 3.1 of the routes, from the table of routes and the wire types; and a page to read it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from holdfast import wire

__all__ = ["Row", "as_page", "document"]

_COMPONENT: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"{(\w+)}")
_ERRORS: Final = {
    "400": "BAD_REQUEST, SPAWN_FAILED",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "NOT_FOUND",
    "409": "CONFLICT, NAME_IN_USE",
    "410": "GONE",
    "413": "TOO_LARGE",
    "422": "VALIDATION_FAILED",
    "429": "LIMIT_REACHED",
    "500": "INTERNAL",
    "503": "UNAVAILABLE",
    "504": "TIMEOUT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One route. `body` and `answer` are wire types, or a media type for raw bytes.

    `endpoint` is a Starlette endpoint, or an ASGI application where `method` is `WEBSOCKET`.
    """

    method: str
    path: str
    endpoint: Any
    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    query: tuple[str, ...] = ()
    open: bool = False


def document(rows: Sequence[Row], version: str) -> dict[str, Any]:
    """Return the OpenAPI document of a table of routes."""
    types = [kind for row in rows for kind in (row.body, row.answer) if _is_type(kind)]
    _, components = msgspec.json.schema_components(
        [*types, wire.ErrorAnswer], ref_template=_COMPONENT
    )
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        method = "get" if row.method == "WEBSOCKET" else row.method.lower()
        paths.setdefault(row.path, {})[method] = _operation(row, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast", "version": version},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def as_page(rows: Sequence[Row], version: str) -> str:
    """Return the routes as one HTML page that loads nothing."""
    lines = "".join(
        f"<tr><td>{row.method}<td><code>{html.escape(row.path)}</code>"
        f"<td>{html.escape(row.summary)}<td>{', '.join(row.query)}"
        for row in rows
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Holdfast API</title>'
        f"<h1>Holdfast {html.escape(version)}</h1>"
        '<p>The types of bodies and answers: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<table><tr><th>Method<th>Path<th>Does<th>Query{lines}</table></html>"
    )


def _operation(row: Row, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{method}_{re.sub(r'[^a-z0-9]+', '_', row.path).strip('_')}",
        "summary": row.summary,
        "parameters": [*_path_parameters(row.path), *map(_query_parameter, row.query)],
        "responses": {str(row.status): _response(row), **_refusals()},
    }
    if row.body is not None:
        operation["requestBody"] = {"content": _content(row.body)}
    if row.open:
        operation["security"] = []
    return operation


def _response(row: Row) -> dict[str, Any]:
    if row.method == "WEBSOCKET":
        return {"description": f"The protocol changes to WebSocket, {wire.SUBPROTOCOL}."}
    response: dict[str, Any] = {"description": row.summary}
    if row.answer is not None:
        response["content"] = _content(row.answer)
    return response


def _content(kind: Any) -> dict[str, Any]:
    if not _is_type(kind):
        return {kind: {"schema": {}}}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_COMPONENT)
    return {"application/json": {"schema": schema}}


def _refusals() -> dict[str, Any]:
    content = _content(wire.ErrorAnswer)
    return {status: {"description": code, "content": content} for status, code in _ERRORS.items()}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]


def _query_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}}


def _is_type(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, str)

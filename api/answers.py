"""What every route needs: the shared parts of the daemon, the caller, and JSON on the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import HTTPConnection
from starlette.responses import Response

from api.metrics import Metrics
from api.senses import SystemSenses
from api.settings import Settings
from api.views import SessionViews
from supervisor.records import By
from supervisor.supervisor import Supervisor

__all__ = ["Json", "Services", "caller", "encoded", "services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What routes share. `listeners` names what is listened on; `stop` begins the daemon's end.

    `senses` is what the supervisor waits by.
    """

    supervisor: Supervisor
    settings: Settings
    views: SessionViews
    metrics: Metrics
    listeners: Callable[[], list[str]]
    stop: Callable[[], None]
    senses: SystemSenses


class Json(Response):
    """A response whose content is anything that msgspec encodes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the JSON."""
        return msgspec.json.encode(content)


def encoded(content: bytes, status: int = 200) -> Response:
    """Return JSON that is encoded already."""
    return Response(content, status, media_type="application/json")


def services(connection: HTTPConnection) -> Services:
    """Return the shared parts of the daemon that serves this connection."""
    shared: Services = connection.app.state.services
    return shared


def caller(connection: HTTPConnection) -> By:
    """Return whom the gate let in."""
    by: By = connection.scope["holdfast.by"]
    return by

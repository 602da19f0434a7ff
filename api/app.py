"""The application: routes behind the gate, with every answer counted."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import Services
from api.errors import exception_handlers
from api.gate import Gate, Hosts
from api.metrics import Metrics
from api.routes import routes

__all__ = ["build"]


def build(shared: Services, hosts: Hosts) -> ASGIApp:
    """Return the daemon's ASGI application."""
    app = Starlette(routes=routes(), exception_handlers=exception_handlers())
    app.router.redirect_slashes = False
    app.state.services = shared
    app.state.settings = shared.settings
    return _Counted(Gate(app, lambda: shared.supervisor.tokens, hosts), shared.metrics)


class _Counted:
    """Counts answers by status, refusals of the gate among them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                self._metrics.answered(message["status"])
            await send(message)

        await self._app(scope, receive, counting)

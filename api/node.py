"""Routes of the node itself: health, what it is, its end, and clearing away what has ended."""

from __future__ import annotations

import os
from collections import Counter
from importlib.metadata import version
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.answers import Json, Services, caller, services
from api.metrics import CONTENT_TYPE
from api.sessions import flag
from api.views import timestamp
from holdfast import wire

__all__ = ["VERSION", "healthz", "metrics", "node", "promises", "prune", "readyz", "shutdown"]

VERSION = version("holdfast-server")

_HOLDS_TREES: Final = ("cgroup", "shim")


async def healthz(_request: Request) -> Response:
    """Answer while the event loop turns."""
    return Json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Answer 200 while local sessions can be served; `degraded` says in words what cannot."""
    return Json({"ready": True, "degraded": services(request).supervisor.degraded()})


async def node(request: Request) -> Response:
    """Answer with what this node is and promises."""
    return Json(_node_view(services(request)))


async def metrics(request: Request) -> Response:
    """Answer with the numbers of this moment."""
    return Response(services(request).metrics.text(), media_type=CONTENT_TYPE)


async def prune(request: Request) -> Response:
    """Forget all finished sessions."""
    return Json({"removed": await services(request).supervisor.prune()})


async def shutdown(request: Request) -> Response:
    """End the daemon; sessions and keeper go on unless `kill_sessions=true`."""
    shared = services(request)
    kill_sessions = flag(request, "kill_sessions")
    if kill_sessions:
        await shared.supervisor.stop_all(caller(request))
    shared.stop()
    return Json({"sessions": "stopped" if kill_sessions else "kept"})


def _node_view(shared: Services) -> wire.NodeView:
    supervisor = shared.supervisor
    states = Counter(session.record.state.shown for session in supervisor.sessions())
    return wire.NodeView(
        id=supervisor.node,
        version=VERSION,
        pid=os.getpid(),
        boot_id=supervisor.boot_id,
        started_at=timestamp(supervisor.started_at_us),
        keeper={"pid": supervisor.keeper_pid, "protocol": supervisor.keeper_protocol},
        containment=supervisor.containment,
        listeners=shared.listeners(),
        state_dir=str(shared.settings.state_dir),
        promises=promises(supervisor.containment, keeper=supervisor.keeper_pid is not None),
        degraded=supervisor.degraded(),
        sessions=dict(states),
        limits=_limits(shared),
    )


def promises(containment: str, *, keeper: bool) -> dict[str, bool]:
    """What holds now: without a keeper no new child can start, and no exit status is kept.

    Only a cgroup or a subreaper shows that a tree is empty: orphans escape from `children`.
    """
    return {
        "output_survives_daemon": True,
        "sessions_survive_daemon": keeper,
        "exit_status_survives_daemon": keeper,
        "tree_kill_verified": containment in _HOLDS_TREES,
    }


def _limits(shared: Services) -> dict[str, int]:
    limits = shared.settings.limits
    return {
        "sessions": shared.supervisor.settings.sessions,
        "attachments": limits.attachments,
        "connections": limits.connections,
        "body_bytes": limits.body_bytes,
        "argv_env_bytes": limits.argv_env_bytes,
    }

"""Holdfast's client: start a command, go away, come back to the same session.

    async with holdfast.connect() as hf:
        session = await hf.start(["make", "serve"], name="web")
        await session.wait_for(port=8000)

`holdfast.sync.connect()` is the same without `async`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.client import Client, connect
    from holdfast.errors import (
        BadRequest,
        CommandFailed,
        Conflict,
        Detached,
        EndedFirst,
        Gap,
        Gone,
        HoldfastError,
        InputLost,
        InternalError,
        LimitReached,
        NameInUse,
        NodeUnreachable,
        NotFound,
        NotReachable,
        NotWriter,
        PermissionDenied,
        ProtocolBroken,
        SpawnFailed,
        TimedOut,
        TooLarge,
        Unauthenticated,
        Unavailable,
        ValidationFailed,
    )
    from holdfast.frames import Output
    from holdfast.log_lines import LogGap, LogLine
    from holdfast.result import Result
    from holdfast.session import Session

__all__ = [
    "BadRequest",
    "Client",
    "CommandFailed",
    "Conflict",
    "Detached",
    "EndedFirst",
    "Gap",
    "Gone",
    "HoldfastError",
    "InputLost",
    "InternalError",
    "LimitReached",
    "LogGap",
    "LogLine",
    "NameInUse",
    "NodeUnreachable",
    "NotFound",
    "NotReachable",
    "NotWriter",
    "Output",
    "PermissionDenied",
    "ProtocolBroken",
    "Result",
    "Session",
    "SpawnFailed",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "ValidationFailed",
    "connect",
]

_HOMES = {
    "Client": "client",
    "LogGap": "log_lines",
    "LogLine": "log_lines",
    "Output": "frames",
    "Result": "result",
    "Session": "session",
    "connect": "client",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562).

    `hold` imports this package for every command, and the fastest of them need none of asyncio,
    msgspec and the rest: 100 ms. It is the one piece of logic in this file.
    """
    if name not in __all__:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    module = import_module(f"holdfast.{_HOMES.get(name, 'errors')}")
    value = globals()[name] = getattr(module, name)
    return value

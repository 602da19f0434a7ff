"""The client of one daemon: what `holdfast.connect` gives."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from holdfast.address import resolve
from holdfast.backoff import PATIENCE_S
from holdfast.calls import Calls
from holdfast.transport import Transport

__all__ = ["Client", "connect"]


class Client(Calls):
    """A connection to one daemon, kept through its restarts; a context manager.

    Leaving it detaches from every session and ends none.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Detach from every session and close all connections."""
        await self.transport.close()


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    cacert: str | None = None,
    patience: float = PATIENCE_S,
) -> Client:
    """Return a client for the daemon at `url`, to be used with `async with`.

    `url` is None (`$HOLDFAST_URL`, else this user's own daemon), `unix:///path`, `http://host:port`
    or `https://host`. `token` defaults to `$HOLDFAST_TOKEN` or the content of
    `$HOLDFAST_TOKEN_FILE`. `patience` bounds in seconds how long a daemon that answered before may
    be away. Nothing is sent before the first call.
    """
    address = resolve(url, token, cacert=cacert)
    return Client(Transport(address, patience_s=patience))

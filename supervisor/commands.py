"""Control requests on their way, and the receipts that they leave.

Rules
- A receipt is stored as `accepted` before anything is done, and settled once: `done`, `failed`
  or `expired`. The same command ID with the same content answers the same receipt; with other
  content it is refused.
- An ID is taken in memory before the first await, so that two equal requests at the same moment
  are one: the second waits for the first and shares its end, a refusal too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.errors import ActorStopped, Conflict, NotFound, SupervisorError
from supervisor.ports import Store
from supervisor.records import By, Receipt, ReceiptState, Verb

__all__ = ["Command", "Receipts", "settle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A control request.

    `args` by verb: stop {signal: name | None, grace: seconds | None} · kill {} ·
    signal {signal: name, target}
    · restart {base_env?} · resize {rows, cols} · timeout {run: seconds | None}
    """

    command_id: str
    verb: Verb
    session: str
    by: By
    generation: int | None = None
    reason: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)


class Receipts:
    """The receipts that are not settled yet, and who waits for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, asyncio.Future[Receipt]] = {}
        self._content: dict[str, Receipt] = {}

    async def reserve(self, wanted: Receipt) -> Receipt | None:
        """Take the command ID for `wanted`; return the receipt when it was taken already.

        Raises Conflict when the ID belongs to a request of other content.
        """
        known = self._content.get(wanted.command_id)
        if known is None:
            self._content[wanted.command_id] = wanted
            self._open[wanted.command_id] = asyncio.get_running_loop().create_future()
            try:
                known = await self._store.receipt(wanted.command_id)
            except BaseException as error:  # who waits is told, and the caller
                self.abandon(wanted.command_id, error)
                raise
            if known is None:
                return None
            self.settled(known)
        if not _same(known, wanted):
            message = f"command {wanted.command_id} is already another request; choose another ID"
            raise Conflict(message, command_id=wanted.command_id)
        return known

    def reopen(self, receipt: Receipt) -> None:
        """Take up an accepted receipt that a former daemon left."""
        self._content[receipt.command_id] = receipt
        self._open[receipt.command_id] = asyncio.get_running_loop().create_future()

    def abandon(self, command_id: str, error: BaseException) -> None:
        """Let go of an ID whose request was refused before it was stored; who waits is told why."""
        self._content.pop(command_id, None)
        future = self._open.pop(command_id, None)
        if future is not None and not future.done():
            if not isinstance(error, SupervisorError):  # cancelled: only the first one was
                error = ActorStopped("the request did not get through; send it again")
            future.set_exception(error)
            future.exception()  # seen: there may be nobody who waits

    def settled(self, receipt: Receipt) -> None:
        """Tell those who wait; called when the settled receipt is durable."""
        self._content.pop(receipt.command_id, None)
        future = self._open.pop(receipt.command_id, None)
        if future is not None and not future.done():
            future.set_result(receipt)

    async def result(self, receipt: Receipt) -> Receipt:
        """Return the receipt once it is settled. Cancelling changes nothing."""
        future = self._open.get(receipt.command_id)
        if future is None:
            return await self.get(receipt.command_id)
        return await asyncio.shield(future)

    async def get(self, command_id: str) -> Receipt:
        """Return the receipt as it stands. Raises NotFound."""
        receipt = await self._store.receipt(command_id)
        if receipt is None:
            raise NotFound(f"no command {command_id}", command_id=command_id)
        return receipt

    def pending(self) -> int:
        """Return how many receipts are accepted and not settled."""
        return len(self._open)


def _same(one: Receipt, other: Receipt) -> bool:
    return (one.verb, one.session, dict(one.args)) == (other.verb, other.session, dict(other.args))


def settle(receipt: Receipt, state: ReceiptState, effect: Mapping[str, Any]) -> Receipt:
    """Return the receipt in its last state, with what it did."""
    return receipt.but(state=state, effect=effect)

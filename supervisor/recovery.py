"""The start of a daemon: every session that a former one left is taken over, or said to be lost.

The former daemon's connection to the keeper is at its end and the lock of the state directory is
ours: nothing is in flight any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from supervisor.adoption import Adoption, adoption_of
from supervisor.commands import settle
from supervisor.errors import SupervisorError
from supervisor.keeper.client import Held, KeeperClient, KeeperError
from supervisor.keeper.containment import kill_left_cgroup
from supervisor.messages import Adopt
from supervisor.node import Node
from supervisor.output.segments import scan
from supervisor.ports import Change, Loaded
from supervisor.records import Receipt, ReceiptState, SessionRecord, Verb
from supervisor.session import Session

__all__ = ["Recovery"]


class Recovery:
    """Takes over from a former daemon. `add` puts a session into the registry."""

    def __init__(
        self, node: Node, keeper: KeeperClient, add: Callable[[SessionRecord], Session]
    ) -> None:
        self._node = node
        self._keeper = keeper
        self._add = add
        self._receipts: dict[str, list[Receipt]] = {}

    async def adopt_all(self, loaded: Loaded) -> None:
        """Adopt every session; returns when each has taken its child or knows its end."""
        held = {(one.session, one.generation): one for one in await self._keeper.list()}
        await self._take_receipts(loaded.accepted)
        begun = []
        for record in sorted(loaded.sessions, key=lambda record: record.created_at_us):
            child = held.pop((record.id, record.generation), None)
            begun.append(await self._adopt(record, child))
        for stranger in held.values():
            await self._end_stranger(stranger)
        await asyncio.gather(*(session for session in begun if session is not None))

    async def _adopt(self, record: SessionRecord, held: Held | None) -> asyncio.Task[None] | None:
        """Register a session; return its adoption if there is something to do."""
        keeper = self._keeper.keeper_id
        what = adoption_of(
            record, held=held is not None, keeper_id=keeper, boot_id=self._node.boot_id
        )
        if held is not None and what is not Adoption.TAKE:
            await self._end_stranger(held)
            held = None
        if record.boot_id != self._node.boot_id:  # times of another boot mean nothing
            record = record.but(restarted_s=(), backoff_until_s=None)
        receipts = tuple(self._receipts.get(record.id, ()))
        if what is Adoption.KEEP and record.kept:  # with their keeper, what was kept is over too
            survivors = await self._kill_left(record)
            record = record.but(kept=bool(survivors), survivors=survivors)
        if record.state.ended and record.output_next:
            with suppress(OSError):  # the session itself reports what it cannot read
                segments = scan(str(self._node.sessions_dir / record.id))
                self._node.space.hold(record.id, sum(one.bytes_on_disk for one in segments))
        if what is Adoption.KEEP and not receipts:
            self._add(record)
            return None
        if what in (Adoption.LOST_WITH_KEEPER, Adoption.LOST_IN_REBOOT):
            survivors = () if what is Adoption.LOST_IN_REBOOT else await self._kill_left(record)
            record = record.but(lost_reason=what.value, survivors=survivors)
        session = self._add(record)
        return asyncio.get_running_loop().create_task(self._take(session, held, receipts))

    async def _take(
        self, session: Session, held: Held | None, receipts: tuple[Receipt, ...]
    ) -> None:
        try:
            await session.ask(Adopt(held, self._keeper, receipts))
        except SupervisorError as error:  # after a crash its supervisor recovers it
            self._node.report("a session could not be adopted", error)

    async def _kill_left(self, record: SessionRecord) -> tuple[int, ...]:
        """Kill what a former keeper's death left behind; return the pids that survive.

        A shim kills its tree by itself once keeper and daemon are gone.
        """
        path = (record.containment or {}).get("cgroup")
        return tuple(await kill_left_cgroup(path)) if path else ()

    async def _end_stranger(self, held: Held) -> None:
        """A child whose record is gone, or a former generation's: nobody will ask for it."""
        try:
            await held.containment.kill()
            await self._keeper.drop(held.session, held.generation)
        except (KeeperError, OSError) as error:
            self._node.report("a forgotten child could not be ended", error)
        finally:
            held.close()

    async def _take_receipts(self, accepted: tuple[Receipt, ...]) -> None:
        """Carry on with accepted requests; a single signal might hit twice, so it failed."""
        unknown = {"code": "UNKNOWN", "message": "the daemon ended before it was confirmed"}
        failed = []
        for receipt in accepted:
            if receipt.verb is Verb.SIGNAL:
                failed.append(settle(receipt, ReceiptState.FAILED, unknown))
            else:
                self._node.receipts.reopen(receipt)
                self._receipts.setdefault(receipt.session, []).append(receipt)
        if failed:
            await self._node.feed.commit(Change(receipts=tuple(failed)))

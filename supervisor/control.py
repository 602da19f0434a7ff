"""Control requests to one session: carried out by its actor, each leaving a receipt.

Rules
- A receipt is stored as `accepted` in the same commit as the change of the session that it
  brings about. So an accepted request is never forgotten, and a new daemon carries it out from
  the session's record alone. A single signal is the exception: it could hit twice, so a new
  daemon settles it as failed, UNKNOWN.
- stop, kill and restart are done when the tree is gone or the next child runs; signal, resize
  and timeout at once. What cannot be done in this state is refused before anything is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from supervisor.commands import settle
from supervisor.errors import Conflict, NotFound, Refused, StoreFailed
from supervisor.keeper.client import KeeperError
from supervisor.lifecycle import Conclude, Happening, LifeEvent, decide
from supervisor.records import (
    Cause,
    Delivered,
    Event,
    Receipt,
    ReceiptState,
    SessionRecord,
    Size,
    State,
    Verb,
)
from supervisor.signals import signal_number

if TYPE_CHECKING:
    from supervisor.session import Session

__all__ = ["Controls"]

_EVENTS = {
    Verb.STOP: LifeEvent.STOP,
    Verb.KILL: LifeEvent.KILL,
    Verb.RESTART: LifeEvent.RESTART,
}


class Controls:
    """The control requests of one session that are not settled yet."""

    __slots__ = ("_open", "_waiting", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self._open: dict[str, Receipt] = {}
        self._waiting: list[Receipt] = []

    async def carry_out(self, receipt: Receipt) -> None:
        """Accept a request and begin it; returns when its receipt is stored.

        Raises Conflict or Refused (nothing was done), StoreFailed.
        """
        record = self.session.record
        if self.session.retired:
            raise NotFound(f"no session {record.id}", session=record.id)
        if receipt.verb in _EVENTS:
            await self._end_or_restart(receipt, _EVENTS[receipt.verb])
            return
        if record.state.over or record.state is State.DRAINING:
            message = f"session {record.id} has no process now; there is nothing to {receipt.verb}"
            raise Conflict(message, state=record.state.shown)
        if record.state is State.STARTING:
            await self.session.commit(record, receipt)
            self._waiting.append(receipt)
            return
        match receipt.verb:
            case Verb.SIGNAL:
                await self._signal(receipt)
            case Verb.RESIZE:
                await self._resize(receipt)
            case _:
                await self._timeout(receipt)

    def adopt(self, receipts: Iterable[Receipt]) -> None:
        """Take over accepted requests; what stop, kill and restart ask is in the record."""
        for receipt in receipts:
            if receipt.verb in _EVENTS:
                self._open[receipt.command_id] = receipt
            else:
                self._waiting.append(receipt)

    async def finish_ended(self) -> None:
        """After a crash: an ended session's kept leftovers were asked to go."""
        if self._open and self.session.record.kept:
            await self.session.drop_kept()
        if self._open:
            await self._ended_kept()

    async def started(self) -> None:
        """The child runs: settle the restart that brought it, do what waited for it."""
        wanted = self.session.record.restarting
        if wanted is not None:
            effect = {"generation": self.session.record.generation}
            await self._settle(wanted, ReceiptState.DONE, effect)
        waiting, self._waiting = self._waiting, []
        for receipt in waiting:
            try:
                await self.carry_out(receipt)
            except (Conflict, Refused, StoreFailed) as error:
                failed = settle(receipt, ReceiptState.FAILED, {"message": error.message})
                await self.session.commit_surely(self.session.record, failed)
                self.tell((failed,))

    async def superseded(self, command_id: str) -> None:
        """A later request took the place of a restart that waited."""
        await self._settle(command_id, ReceiptState.FAILED, {"code": "SUPERSEDED"})

    def ended(self, record: SessionRecord) -> list[Receipt]:
        """Return, settled, the receipts that were waiting for this generation's end."""
        effect = _effect_of_end(record)
        gone = {"code": "NOT_RUNNING", "message": "the child could not be started"}
        settled = [settle(receipt, ReceiptState.FAILED, gone) for receipt in self._waiting]
        self._waiting = []
        for receipt in self._open.values():
            if receipt.verb is Verb.RESTART:
                if record.state is State.STARTING and record.restart_wanted == receipt.command_id:
                    continue
                failure = gone
                if record.spawn_error is not None:
                    failure = {"code": "SPAWN_FAILED", **record.spawn_error}
                settled.append(settle(receipt, ReceiptState.FAILED, failure))
            else:
                settled.append(settle(receipt, ReceiptState.DONE, effect))
        return settled

    async def survived(self, pids: tuple[int, ...]) -> None:
        """SIGKILL did not end the tree in time: name who is left, and keep nobody waiting.

        The session stays `stopping` until its leader ends.
        """
        record = self.session.record.but(survivors=pids)
        effect = {"tree_gone": False, "survivors": list(pids)}
        waiting = (each for each in self._open.values() if each.verb is not Verb.RESTART)
        settled = [settle(each, ReceiptState.DONE, effect) for each in waiting]
        await self.session.commit_surely(record, *settled)
        self.tell(settled)

    def tell(self, settled: Iterable[Receipt]) -> None:
        """Tell those who wait; the receipts are stored."""
        for receipt in settled:
            self._open.pop(receipt.command_id, None)
            self.session.node.receipts.settled(receipt)

    async def _end_or_restart(self, receipt: Receipt, event: LifeEvent) -> None:
        session = self.session
        restart = receipt.verb is Verb.RESTART
        before = session.record.but(desired="running" if restart else "stopped")
        if restart and "base_env" in receipt.args:
            before = before.but(base_env=receipt.args["base_env"])
        if before.state.ended and not restart and not before.kept:
            done = settle(receipt, ReceiptState.DONE, _effect_of_end(before, already_ended=True))
            await session.commit(before, self._event(receipt), done)
            self.tell((done,))
            return
        if before.state.ended and restart:
            await session.drop_kept()
            before = before.but(kept=False)
        record, effects = decide(before, Happening(event, _cause(before, receipt)))
        told: tuple[Event, ...] = (self._event(receipt),)
        if record.generation != before.generation:
            record = session.here(record)
            told += session.begun_again(record)
        elif before.state is State.BACKOFF:
            told += (session.ended_event(record),)
        await session.commit(record, receipt, *told)
        self._open[receipt.command_id] = receipt
        await session.perform(effects)
        if session.record.state.ended and Conclude() not in effects:
            await self._ended_kept()

    async def _ended_kept(self) -> None:
        """The leftovers of an ended session were killed: those who asked are answered."""
        settled = self.ended(self.session.record)
        if settled:
            await self.session.commit_surely(self.session.record, *settled)
            self.tell(settled)

    async def _signal(self, receipt: Receipt) -> None:
        session, child = self.session, self.session.child
        if child is None:
            raise Conflict("there is no process to signal")
        number, target = signal_number(receipt.args["signal"]), receipt.args["target"]
        entry = Delivered(number, receipt.by, receipt.command_id)
        record = session.record
        record = record.but(delivered=(*record.delivered[-15:], entry))
        await session.commit(record, receipt, self._event(receipt))
        self._open[receipt.command_id] = receipt
        effect: dict[str, Any] = {"target": target}
        try:
            if target == "leader":
                child.signal_leader(number)
            elif target == "group":
                await child.signal_group(number)
            else:
                effect["processes"] = child.signal_tree(number)
        except (KeeperError, OSError) as error:
            await self._settle(receipt.command_id, ReceiptState.FAILED, {"message": str(error)})
            return
        await self._settle(receipt.command_id, ReceiptState.DONE, effect)

    async def _resize(self, receipt: Receipt) -> None:
        session, child = self.session, self.session.child
        size = Size(receipt.args["rows"], receipt.args["cols"])
        if child is None or not session.record.spec.tty:
            raise Refused("the session has no terminal to resize; start it with a tty")
        child.resize(size)
        await self._done(receipt, session.record.but(size=size), dict(receipt.args))

    async def _timeout(self, receipt: Receipt) -> None:
        session, child = self.session, self.session.child
        timeouts = session.record.timeouts.but(**receipt.args)
        deadline = session.record.deadline_s
        if "run" in receipt.args:
            run = timeouts.run
            deadline = session.node.clock.monotonic() + run if run is not None else None
        record = session.record.but(timeouts=timeouts, deadline_s=deadline)
        await self._done(receipt, record, dict(receipt.args))
        if child is not None:
            child.begin_timeouts(timeouts, deadline)

    async def _done(
        self, receipt: Receipt, record: SessionRecord, effect: Mapping[str, Any]
    ) -> None:
        done = settle(receipt, ReceiptState.DONE, effect)
        await self.session.commit(record, self._event(receipt), done)
        self.tell((done,))

    async def _settle(
        self, command_id: str, state: ReceiptState, effect: Mapping[str, Any]
    ) -> None:
        receipt = self._open.get(command_id)
        if receipt is not None:
            settled = settle(receipt, state, effect)
            await self.session.commit_surely(self.session.record, settled)
            self.tell((settled,))

    def _event(self, receipt: Receipt) -> Event:
        told = {
            "verb": receipt.verb,
            "command_id": receipt.command_id,
            "by": receipt.by.user or receipt.by.token or receipt.by.via,
            "reason": receipt.reason,
        }
        return self.session.node.feed.event("session.control", self.session.record, told)


def _cause(record: SessionRecord, receipt: Receipt) -> Cause:
    args = receipt.args
    signal = args.get("signal") or record.spec.stop_signal
    grace = args.get("grace")
    return Cause(
        kind=str(receipt.verb),
        by=receipt.by,
        signal=9 if receipt.verb is Verb.KILL else signal_number(signal),
        command_id=receipt.command_id,
        grace_s=record.spec.stop_grace if grace is None else float(grace),
    )


def _effect_of_end(record: SessionRecord, *, already_ended: bool = False) -> dict[str, Any]:
    """Return what the receipt of a stop or kill says: the end, and the proof or the survivors."""
    effect: dict[str, Any] = {"tree_gone": not record.survivors}
    if already_ended:
        effect["already_ended"] = True
    if record.survivors:
        effect["survivors"] = list(record.survivors)
    if record.outcome is not None:
        effect |= {"outcome": record.outcome.kind, "exit_code": record.outcome.exit_code}
    return effect

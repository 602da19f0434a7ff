"""Forgetting: logs go first, then rows; a tombstone keeps an ID from starting twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from supervisor.errors import ActorStopped, SupervisorError
from supervisor.messages import OutputEnded, Retire
from supervisor.node import Node
from supervisor.ports import Change, Trim
from supervisor.records import SessionRecord, Tombstone
from supervisor.retention import outdated
from supervisor.session import Session
from supervisor.settings import SupervisorSettings

__all__ = ["Pruning"]

_US = 1_000_000
_BATCH = 200
_LOGS_AT_ONCE = 20


class Pruning:
    """Deletes what is kept no longer; the supervisor forgets the sessions afterwards."""

    def __init__(
        self, node: Node, sessions: Mapping[str, Session], settings: SupervisorSettings
    ) -> None:
        self._node = node
        self._sessions = sessions
        self._settings = settings
        self._making_room = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def housekeeping(self) -> list[str]:
        """Prune by age and number, trim events and receipts; return the pruned IDs."""
        settings, now = self._settings, self._node.clock.wall_us()
        for session in self._sessions.values():
            if session.final:
                session.reader.close()
        records = [session.record for session in self._sessions.values()]
        for session in self._sessions.values():
            if session.record.kept:  # what was kept may have ended without a word
                session.tell(OutputEnded(session.record.generation))
        due = await self.remove(outdated(records, now, settings), free=False)
        oldest = await self._node.store.trim(
            Trim(
                events=settings.events,
                receipts=settings.receipts,
                receipts_before_us=now - int(settings.receipts_s * _US),
                tombstones_before_us=now - int(settings.tombstone_s * _US),
            )
        )
        self._node.feed.trimmed(oldest)
        return due

    async def remove(self, session_ids: Iterable[str], *, free: bool) -> list[str]:
        """Delete logs, then rows; return the IDs that went: one that lives again stays.

        With `free` no tombstone stays. Raises StoreFailed.
        """
        ids, gone = tuple(session_ids), []
        for begin in range(0, len(ids), _BATCH):
            batch = [one for one in ids[begin : begin + _BATCH] if await self._retire(one)]
            records = [self._sessions[one].record for one in batch]
            try:
                await self._delete_logs(batch)
                await self._node.feed.commit(self._change(records, free=free))
            except BaseException:  # they are kept; it goes on to the caller
                for one in batch:
                    self._sessions[one].retired = False
                raise
            gone += batch
        return gone

    async def _retire(self, session_id: str) -> bool:
        """Have a session take no further request; false when it lives, or is gone already."""
        session = self._sessions.get(session_id)
        if session is None or session.retired:
            return False
        try:
            await session.ask(Retire())
        except ActorStopped:  # it is down, and takes no request anyway
            return session.final
        except SupervisorError:
            return False
        return True

    def make_room(self) -> None:
        """The logs come close to their bound: those of the longest-finished sessions go."""
        if not self._making_room:
            self._making_room = True
            task = asyncio.get_running_loop().create_task(self._make_room())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _make_room(self) -> None:
        try:
            finished = sorted(
                (one for one in self._sessions.values() if one.final and one.has_output),
                key=lambda session: session.record.ended_at_us or 0,
            )[:_LOGS_AT_ONCE]
            # Retired meanwhile: a restart would write into the folder that goes.
            retired = [one for one in finished if await self._retire(one.record.id)]
            try:
                await self._delete_logs(one.record.id for one in retired)
            finally:
                for one in retired:
                    one.retired = False
        finally:
            self._making_room = False

    def _change(self, records: list[SessionRecord], *, free: bool) -> Change:
        ids = tuple(record.id for record in records)
        event = self._node.feed.event
        return Change(
            removed=ids,
            freed=ids if free else (),
            tombstones=() if free else tuple(_tombstone(record) for record in records),
            events=tuple(event("session.removed", record) for record in records),
        )

    async def _delete_logs(self, session_ids: Iterable[str]) -> None:
        ids = tuple(session_ids)
        folders = [self._node.sessions_dir / one for one in ids]
        await asyncio.get_running_loop().run_in_executor(None, _delete_folders, folders)
        for one in ids:
            self._node.space.forget(one)
            session = self._sessions.get(one)
            if session is not None:
                session.output_deleted()


def _delete_folders(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _tombstone(record: SessionRecord) -> Tombstone:
    outcome = record.outcome
    return Tombstone(
        id=record.id,
        spec_hash=record.spec_hash,
        outcome=outcome.kind if outcome else "lost",
        exit_code=outcome.exit_code if outcome else None,
        ended_at_us=record.ended_at_us or 0,
    )

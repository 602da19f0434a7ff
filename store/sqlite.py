"""The node's truth in one SQLite file.

Rules
- A group of changes is one INSERT statement: one transaction, one trip to the writer's thread
  (a trip costs more than the statement). More rows than a statement takes go in by an explicit
  transaction.
- WAL with synchronous=NORMAL: what is committed outlives every death of the process. A power cut
  can take the last commits, never more (https://sqlite.org/wal.html).
- No fsync in the committing path: checkpoints run on the reader's thread, after many changes.
- The writer connection is used under `_turn`, so that nothing slips into an open transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import aiosqlite

from store import schema
from store.codec import Row, read, rows_of
from store.trim import TrimStep, trim_steps
from store.writer import GROUP_ROWS, GroupWriter
from supervisor.errors import StartRefused, StoreFailed
from supervisor.ports import Change, Loaded, Trim
from supervisor.records import Event, Receipt, SessionRecord, Token, Tombstone

__all__ = ["SqliteStore"]

log = logging.getLogger(__name__)

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""Estimated growth of the write-ahead log after which a checkpoint runs; about half is real."""

LOG_HIGH_PAGES = 16384
"""Length of the write-ahead log at which commits wait while the rest of it is checkpointed.

Otherwise writers that never pause would let it grow for ever: it starts over only at an instant
at which all of it is in the database.
"""

PRAGMAS = """
PRAGMA busy_timeout = 5000;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 4194304;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -512;
"""


class SqliteStore:
    """Implements `supervisor.ports.Store` with one writer and one reader connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections = contextlib.AsyncExitStack()
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._queue = GroupWriter(self._write)
        self._turn = asyncio.Lock()
        self._accepting = False
        self._unchecked_bytes = 0
        self._checkpoint: asyncio.Task[None] | None = None

    async def open(self) -> Loaded:
        """Open, migrate, and read what a starting daemon needs. Raises StartRefused."""
        try:
            _create_private(self._path)
            steps = schema.migrations()
            self._writer = await self._connect()
            await schema.check(self._writer, self._path, steps)  # Until here nothing is written.
            await self._demand_wal(self._writer)
            await schema.upgrade(self._writer, self._path, steps)
            self._reader = await self._connect()
            await self._reader.execute("PRAGMA query_only = ON")
            self._accepting = True
            return await self._load()
        except BaseException as error:
            await self._disconnect()
            if isinstance(error, OSError | sqlite3.Error | StoreFailed):
                raise _start_refused(self._path, error) from error
            raise

    async def close(self) -> None:
        """Commit what is queued and let go of the database; a second call does nothing."""
        self._accepting = False
        try:
            await self._queue.finish()
            if self._checkpoint is not None:
                await asyncio.wait({self._checkpoint})
        finally:
            await self._disconnect()

    async def commit(self, change: Change) -> None:
        """Store the change; durable when this returns. Raises StoreFailed, storing nothing.

        A cancelled commit still takes effect in its turn.
        """
        self._check_accepting()
        rows = rows_of(change)
        if rows:
            await self._queue.put(rows)

    async def receipt(self, command_id: str) -> Receipt | None:
        """Return the receipt of a command, whatever its state."""
        found = await self._texts("SELECT record FROM receipts WHERE command_id = ?", command_id)
        return read(Receipt, found[0]) if found else None

    async def tombstone(self, session_id: str) -> Tombstone | None:
        """Return the tombstone of a pruned session."""
        found = await self._texts("SELECT record FROM tombstones WHERE id = ?", session_id)
        return read(Tombstone, found[0]) if found else None

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """Return at most `limit` events with an ID above `after`, oldest first."""
        query = "SELECT record FROM events WHERE id > ? ORDER BY id LIMIT ?"
        found = await self._texts(query, after, max(limit, 0))
        return tuple(read(Event, text) for text in found)

    async def trim(self, trim: Trim) -> int:
        """Delete what is over the bounds, in small steps; return the oldest event ID kept.

        Accepted receipts and the newest event stay whatever the bounds: the first are still to be
        carried out, the second is where the IDs go on from.
        """
        self._check_accepting()
        for step in trim_steps(trim):
            while await self._trim_step(step):
                pass
        with _as_store_failed():
            return await _number(self._reading(), "SELECT min(id) FROM events")

    async def _trim_step(self, step: TrimStep) -> bool:
        """Delete a little, between two groups; return whether there may be more."""
        async with self._turn:
            with _as_store_failed():
                cursor = await self._writing().execute(step.sql, step.parameters)
                return cursor.rowcount > 0

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, isolation_level=None, cached_statements=32)
        self._connections.push_async_callback(connection.close)
        await connection.executescript(PRAGMAS)
        return connection

    async def _demand_wal(self, writer: aiosqlite.Connection) -> None:
        ((mode,),) = await writer.execute_fetchall("PRAGMA journal_mode = WAL")
        if mode != "wal":
            message = (
                f"SQLite cannot keep a write-ahead log beside {self._path}; this file system has "
                "no shared memory. Set `state.dir` to a folder on a local disk."
            )
            raise StartRefused(message, path=str(self._path))

    async def _load(self) -> Loaded:
        accepted = "SELECT record FROM receipts WHERE state = 'accepted' ORDER BY at_us, rowid"
        sessions = await self._texts("SELECT record FROM sessions ORDER BY rowid")
        tokens = await self._texts("SELECT record FROM tokens ORDER BY rowid")
        return Loaded(
            sessions=tuple(read(SessionRecord, text) for text in sessions),
            accepted=tuple(read(Receipt, text) for text in await self._texts(accepted)),
            tokens=tuple(read(Token, text) for text in tokens),
            oldest_event=await _number(self._reading(), "SELECT min(id) FROM events"),
            last_event=await _number(self._reading(), "SELECT max(id) FROM events"),
        )

    async def _texts(self, query: str, *parameters: str | int) -> list[str]:
        self._check_accepting()
        with _as_store_failed():
            return [row[0] for row in await self._reading().execute_fetchall(query, parameters)]

    async def _write(self, rows: Sequence[Row]) -> None:
        """Store the rows of one group, whole or not at all."""
        async with self._turn:
            with _as_store_failed():
                if len(rows) <= GROUP_ROWS:
                    await _insert(self._writing(), rows)
                else:
                    await _insert_many(self._writing(), rows)
        self._note_growth(rows)

    def _note_growth(self, rows: Sequence[Row]) -> None:
        # A row rewrites a page or two; the estimate need not be better than its threshold.
        self._unchecked_bytes += sum(4096 + len(row.record or "") for row in rows)
        if self._unchecked_bytes >= CHECKPOINT_BYTES and self._checkpoint is None:
            self._unchecked_bytes = 0
            self._checkpoint = asyncio.create_task(self._run_checkpoint(), name="store-checkpoint")

    async def _run_checkpoint(self) -> None:
        """Move the log into the database without holding up commits, as far as that goes."""
        try:
            # The reader does it: a PASSIVE checkpoint neither waits for the writer nor stops it.
            # query_only allows it (https://sqlite.org/pragma.html#pragma_query_only).
            pages = await _checkpoint(self._reading())
            if pages >= LOG_HIGH_PAGES:
                async with self._turn:
                    await _checkpoint(self._writing())
        except sqlite3.Error as error:
            # The log stays and is complete; a later checkpoint, or closing, takes it over.
            log.warning("checkpoint failed: %s", error)
        finally:
            self._checkpoint = None

    def _check_accepting(self) -> None:
        if not self._accepting:
            raise StoreFailed("The store is not open.")

    def _writing(self) -> aiosqlite.Connection:
        if self._writer is None:
            raise StoreFailed("The store is not open.")
        return self._writer

    def _reading(self) -> aiosqlite.Connection:
        if self._reader is None:
            raise StoreFailed("The store is not open.")
        return self._reader

    async def _disconnect(self) -> None:
        self._accepting = False
        self._reader = self._writer = None
        await self._connections.aclose()


async def _insert(writer: aiosqlite.Connection, rows: Sequence[Row]) -> None:
    """Store up to GROUP_ROWS rows by one statement, filled up with rows that do nothing.

    Filled up to a power of two, there are so few different statements that all stay prepared.
    """
    size = 1 << (len(rows) - 1).bit_length()
    idle = itertools.repeat(None, (size - len(rows)) * len(Row._fields))
    await writer.execute(_insert_sql(size), (*itertools.chain.from_iterable(rows), *idle))


async def _insert_many(writer: aiosqlite.Connection, rows: Sequence[Row]) -> None:
    await writer.execute("BEGIN IMMEDIATE")
    try:
        for start in range(0, len(rows), GROUP_ROWS):
            await _insert(writer, rows[start : start + GROUP_ROWS])
        await writer.commit()
    except BaseException:  # a cancellation too; it goes on to the caller
        await writer.rollback()
        raise


@cache
def _insert_sql(size: int) -> str:
    places = ", ".join(["(?, ?, ?, ?, ?)"] * size)
    return f"INSERT INTO changes (kind, id, at_us, state, record) VALUES {places}"  # noqa: S608  # of `?` alone


async def _checkpoint(connection: aiosqlite.Connection) -> int:
    """Return how many pages the log has."""
    ((_busy, pages, _moved),) = await connection.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")
    return int(pages)


async def _number(connection: aiosqlite.Connection, query: str) -> int:
    ((value,),) = await connection.execute_fetchall(query)
    return int(value or 0)


@contextlib.contextmanager
def _as_store_failed() -> Iterator[None]:
    """Turn what the driver raises into StoreFailed; a number too large for SQLite included."""
    try:
        yield
    except (sqlite3.Error, OverflowError, ValueError) as error:
        message = f"The database refused: {error}."
        raise StoreFailed(message, reason=getattr(error, "sqlite_errorname", "")) from error


def _create_private(path: Path) -> None:
    """Create folder and file for their owner alone; SQLite gives the file's mode to its others."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _start_refused(path: Path, error: BaseException) -> StartRefused:
    reason = getattr(error, "sqlite_errorname", "")
    if reason in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        todo = "Move it away and start again, or put a backup in its place."
        message = f"{path} is damaged or not a SQLite database ({error}). {todo}"
    elif isinstance(error, StoreFailed):
        todo = "Install the newer version again, or move the database away and start again."
        message = f"{path}: {error} {todo}"
    else:
        todo = "The folder must be on a local disk with room, and writable for this user."
        message = f"{path} cannot be opened ({error}). {todo}"
    return StartRefused(message, path=str(path), reason=reason)

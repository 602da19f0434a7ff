"""The database's schema: numbered SQL files, applied in order, each in a transaction of its own.

Rules
- `PRAGMA user_version` is the number of the last file applied; it moves in that file's transaction.
- An existing database is copied beside itself before anything in it changes.
- A database of a newer version, or of another program, is refused and left as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import aiosqlite

from supervisor.errors import StartRefused

__all__ = ["Migration", "backup_path", "check", "migrations", "upgrade"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file; it leads from schema `number - 1` to `number`."""

    number: int
    sql: str


def migrations() -> tuple[Migration, ...]:
    """Return the shipped migrations in order."""
    folder = files("store") / "migrations"
    scripts = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=str)
    return tuple(Migration(int(each.name[:4]), each.read_text("utf-8")) for each in scripts)


def backup_path(database: Path, version: int) -> Path:
    """Return where the copy of a database of schema `version` goes."""
    return database.with_name(f"{database.name}.schema-{version}.backup")


async def check(
    connection: aiosqlite.Connection, database: Path, steps: Sequence[Migration]
) -> int:
    """Return the database's schema, 0 for an empty one. Raises StartRefused, sqlite3.Error."""
    version = await _number(connection, "PRAGMA user_version")
    newest = steps[-1].number
    if version > newest:
        message = (
            f"{database} was written by a newer Holdfast (schema {version}; this one knows up to "
            f"{newest}). Install that version again, or put the backup that it made before its "
            f"upgrade ({backup_path(database, newest)}) in the database's place."
        )
        raise StartRefused(message, path=str(database), schema=version, known=newest)
    if version == 0 and await _number(connection, "SELECT count(*) FROM sqlite_schema"):
        message = (
            f"{database} is a database of another program. Set `state.dir` to a folder of its own."
        )
        raise StartRefused(message, path=str(database))
    return version


async def upgrade(
    connection: aiosqlite.Connection, database: Path, steps: Sequence[Migration]
) -> None:
    """Bring the database to the schema of the last step. Raises StartRefused, sqlite3.Error."""
    version = await check(connection, database, steps)
    if 0 < version < steps[-1].number:
        await _back_up(connection, backup_path(database, version))
    for step in steps[version:]:
        await _apply(connection, step)


async def _apply(connection: aiosqlite.Connection, step: Migration) -> None:
    script = f"BEGIN IMMEDIATE;\n{step.sql}\nPRAGMA user_version = {step.number};\nCOMMIT;"
    try:
        await connection.executescript(script)
    except sqlite3.Error:
        # A full disk has rolled back already; what else can go wrong in here does not.
        with contextlib.suppress(sqlite3.Error):
            await connection.rollback()
        raise


async def _back_up(connection: aiosqlite.Connection, target: Path) -> None:
    """Write the copy under another name first, so that one with the right name is whole."""
    partial = target.with_name(f"{target.name}.partial")
    _create_private(partial)
    # VACUUM INTO accepts an empty file, whose mode stays (https://sqlite.org/lang_vacuum.html).
    await connection.execute("VACUUM INTO ?", (str(partial),))
    partial.replace(target)


def _create_private(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


async def _number(connection: aiosqlite.Connection, query: str) -> int:
    (row,) = await connection.execute_fetchall(query)
    return int(row[0])

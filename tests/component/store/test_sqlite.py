"""What only SQLite has: files, migrations, grouped transactions, checkpoints."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

import store.sqlite
from store import SqliteStore
from store.schema import Migration, backup_path, migrations, upgrade
from supervisor.errors import StartRefused
from supervisor.ports import Change
from tests.component.store.samples import event, session

NEXT = Migration(len(migrations()) + 1, "CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT;")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def run_sql(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def selected(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def new_database(path: Path) -> None:
    kept = SqliteStore(path)
    await kept.open()
    await kept.commit(Change(sessions=(session("a"),), events=(event(1),)))
    await kept.close()


async def test_folder_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    kept = SqliteStore(tmp_path / "state" / "h.db")
    await kept.open()
    await kept.commit(Change(events=(event(1),)))
    files = {name: mode_of(tmp_path / "state" / name) for name in names_in(tmp_path / "state")}
    await kept.close()
    assert files == {"h.db": 0o600, "h.db-wal": 0o600, "h.db-shm": 0o600}
    assert mode_of(tmp_path / "state") == 0o700


async def test_a_database_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    path.chmod(0o644)
    kept = SqliteStore(path)
    await kept.open()
    await kept.close()
    assert mode_of(path) == 0o600


async def test_migrations_are_numbered_from_one_without_holes() -> None:
    assert [each.number for each in migrations()] == list(range(1, len(migrations()) + 1))


async def test_every_table_is_strict(tmp_path: Path) -> None:
    await new_database(tmp_path / "h.db")
    loose = "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict"
    assert selected(tmp_path / "h.db", f"{loose} AND name NOT LIKE 'sqlite_%'") == []


async def test_an_older_database_is_copied_and_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    before = selected(path, "SELECT id, record FROM sessions")
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await upgrade(connection, path, (*migrations(), NEXT))
    assert selected(path, "PRAGMA user_version") == [(NEXT.number,)]
    assert selected(path, "SELECT id, record FROM sessions") == before
    assert selected(path, "SELECT * FROM added") == []
    backup = backup_path(path, NEXT.number - 1)
    assert mode_of(backup) == 0o600
    assert selected(backup, "PRAGMA user_version") == [(NEXT.number - 1,)]
    assert selected(backup, "SELECT id, record FROM sessions") == before
    assert names_in(tmp_path) == {"h.db", backup.name}


async def test_a_backup_is_itself_a_database_to_start_from(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await upgrade(connection, path, (*migrations(), NEXT))
    backup_path(path, NEXT.number - 1).replace(path)
    kept = SqliteStore(path)
    assert (await kept.open()).sessions == (session("a"),)
    await kept.close()


async def test_a_new_or_current_database_is_not_copied(tmp_path: Path) -> None:
    await new_database(tmp_path / "h.db")
    await new_database(tmp_path / "h.db")
    assert names_in(tmp_path) == {"h.db"}


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    broken = Migration(NEXT.number, f"{NEXT.sql} INSERT INTO nowhere VALUES (1);")
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        with pytest.raises(sqlite3.Error):
            await upgrade(connection, path, (*migrations(), broken))
        assert not connection.in_transaction
        await upgrade(connection, path, (*migrations(), NEXT))
    assert selected(path, "PRAGMA user_version") == [(NEXT.number,)]


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    run_sql(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StartRefused, match=r"newer Holdfast \(schema 99.*Install that version"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    run_sql(path, "CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(StartRefused, match="another program"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    path.write_bytes(b"these are my notes, not yours\n" * 100)
    with pytest.raises(StartRefused, match=r"not a SQLite database.*Move it away"):
        await SqliteStore(path).open()
    assert path.read_bytes().startswith(b"these are my notes")


async def test_a_damaged_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StartRefused, match="damaged"):
        await SqliteStore(path).open()


async def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be opened"):
        await SqliteStore(tmp_path).open()


async def test_a_record_of_a_newer_version_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    await new_database(path)
    run_sql(path, "UPDATE sessions SET record = json_set(record, '$.surprise', 1)")
    with pytest.raises(StartRefused, match="surprise"):
        await SqliteStore(path).open()


def transactions(database: Path) -> int:
    """Count the commit frames of the log: those that name a database size (fileformat2.html)."""
    log = database.with_name(f"{database.name}-wal").read_bytes()[32:]
    frames = range(0, len(log), 24 + 4096)
    return sum(int.from_bytes(log[start + 4 : start + 8]) > 0 for start in frames)


async def test_callers_at_the_same_time_share_a_transaction(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    before = transactions(tmp_path / "h.db")
    async with asyncio.TaskGroup() as group:
        for number in range(1, 101):
            group.create_task(sqlite.commit(Change(events=(event(number),))))
    assert transactions(tmp_path / "h.db") == before + 1
    for number in range(101, 111):
        await sqlite.commit(Change(sessions=(session("a"),), events=(event(number),)))
    assert transactions(tmp_path / "h.db") == before + 11


async def test_a_checkpoint_runs_beside_the_commits_not_in_them(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.sqlite, "CHECKPOINT_BYTES", 1)
    written: list[str] = []
    read: list[str] = []
    await sqlite._writing().set_trace_callback(written.append)
    await sqlite._reading().set_trace_callback(read.append)
    await sqlite.commit(Change(sessions=(session("a"),)))
    assert sqlite._checkpoint is not None
    await sqlite._checkpoint
    assert not [each for each in written if "wal_checkpoint" in each]
    assert len([each for each in read if "wal_checkpoint" in each]) == 1
    assert b'"id":"a"' in (tmp_path / "h.db").read_bytes()


@pytest.mark.parametrize(("high_pages", "starts_over"), [(1, True), (1_000_000, False)])
async def test_a_long_log_starts_over_though_commits_never_pause(
    sqlite: SqliteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    high_pages: int,
    starts_over: bool,
) -> None:
    checkpoint = store.sqlite._checkpoint

    async def with_a_commit_behind_it(connection: aiosqlite.Connection) -> int:
        pages = await checkpoint(connection)
        if connection is sqlite._reading():
            await sqlite.commit(Change(events=(event(2),)))
        return pages

    monkeypatch.setattr(store.sqlite, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(store.sqlite, "LOG_HIGH_PAGES", high_pages)
    monkeypatch.setattr(store.sqlite, "_checkpoint", with_a_commit_behind_it)
    before = log_sequence(tmp_path / "h.db")
    await sqlite.commit(Change(events=(event(1),)))
    assert sqlite._checkpoint is not None
    await sqlite._checkpoint
    monkeypatch.setattr(store.sqlite, "CHECKPOINT_BYTES", 1 << 30)
    await sqlite.commit(Change(events=(event(3),)))
    assert log_sequence(tmp_path / "h.db") == before + 1 + starts_over


def log_sequence(database: Path) -> int:
    """How often the log has started over (sqlite.org/fileformat2.html, "WAL header")."""
    return int.from_bytes(database.with_name(f"{database.name}-wal").read_bytes()[12:16])


async def test_a_checkpoint_that_fails_is_logged_and_commits_go_on(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_connection: aiosqlite.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store.sqlite, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(store.sqlite, "_checkpoint", fail)
    await sqlite.commit(Change(events=(event(1),)))
    await sqlite.commit(Change(events=(event(2),)))
    await sqlite.close()
    assert "checkpoint failed: disk I/O error" in caplog.text
    assert (await sqlite.open()).last_event == 2

"""SQLite under SIGKILL, on a full disk, in a folder that cannot be written."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store import SqliteStore
from supervisor.errors import StoreFailed
from supervisor.ports import Change
from tests.component.store.samples import event, session

ROOT = Path(__file__).parents[3]
ROUNDS = 10
ACKNOWLEDGED = 100


async def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    acknowledged: list[int] = []
    for _ in range(ROUNDS):
        acknowledged += killed_while_writing(path, (max(acknowledged, default=0) + 1000))
        store = SqliteStore(path)
        loaded = await store.open()
        events = [each.id for each in await store.events(0, 1_000_000)]
        await store.close()
        assert set(acknowledged) <= set(events)
        assert [each.id for each in loaded.sessions] == [f"s{number}" for number in events]
    assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED


def killed_while_writing(path: Path, first: int) -> list[int]:
    command = [sys.executable, "-m", "tests.component.store.killed", str(path), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        lines = [writing.stdout.readline() for _ in range(ACKNOWLEDGED)]
        writing.kill()
        lines += writing.stdout.readlines()
    return [int(line) for line in lines]


def test_a_full_disk_refuses_and_the_store_goes_on_when_there_is_room(tmp_path: Path) -> None:
    assert in_own_mounts(tmp_path, "size=6m", "tests.component.store.full", tmp_path) == "ok\n"


def test_a_read_only_folder_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    said = in_own_mounts(tmp_path, "ro", "tests.component.store.refused", path)
    assert str(path) in said
    assert "writable for this user" in said


def in_own_mounts(folder: Path, options: str, module: str, argument: Path) -> str:
    """Run a program with a tmpfs on that folder, which nobody else sees; return what it printed."""
    as_root = "-m" if os.geteuid() == 0 else "-rm"
    if subprocess.run(["unshare", as_root, "true"], check=False).returncode:
        pytest.skip("this user may not make a mount namespace")
    script = 'mount -t tmpfs -o "$1" none "$2" && exec "$3" -m "$4" "$5"'
    command = ["unshare", as_root, "sh", "-c", script, "sh", options, str(folder)]
    command += [sys.executable, module, str(argument)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_one_refused_change_among_many_fails_alone(sqlite: SqliteStore) -> None:
    writer = sqlite._writing()
    await writer.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON sessions WHEN NEW.id = 'bad' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    )
    names = [f"s{number}" for number in range(50)]
    names[25] = "bad"
    changes = [
        Change(events=(event(number),), sessions=(session(name),))
        for number, name in enumerate(names, start=1)
    ]
    results = await gathered(sqlite, changes)
    failed = [number for number, each in enumerate(results, start=1) if each is not None]
    assert failed == [26]
    assert isinstance(results[25], StoreFailed)
    assert "not this one" in results[25].message
    stored = [each.id for each in await sqlite.events(0, 100)]
    assert stored == [number for number in range(1, 51) if number != 26]


async def test_a_refused_change_larger_than_a_group_stores_nothing(sqlite: SqliteStore) -> None:
    many = tuple(session(f"s{number}") for number in range(1000))
    with pytest.raises(StoreFailed):
        await sqlite.commit(Change(sessions=many, events=(event(2**63),)))
    await sqlite.commit(Change(events=(event(1),)))
    await sqlite.close()
    loaded = await sqlite.open()
    assert (loaded.sessions, loaded.last_event) == ((), 1)


async def test_no_exception_of_the_driver_comes_through(sqlite: SqliteStore) -> None:
    for table in ("receipts", "tombstones", "events"):
        await sqlite._writing().execute(f"DROP TABLE {table}")
    for refused in (sqlite.receipt("a"), sqlite.tombstone("a"), sqlite.events(0, 1)):
        with pytest.raises(StoreFailed, match="no such table"):
            await refused
    with pytest.raises(StoreFailed, match="no such table"):
        await sqlite.commit(Change(events=(event(1),)))


async def gathered(store: SqliteStore, changes: list[Change]) -> list[BaseException | None]:
    return await asyncio.gather(*map(store.commit, changes), return_exceptions=True)

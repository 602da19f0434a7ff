"""Fills the disk under an open store, then makes room again. Argument: a folder on a small tmpfs.

Prints `ok` at the end, or dies of an AssertionError.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest

from store import SqliteStore
from supervisor.errors import StoreFailed
from supervisor.ports import Change
from tests.component.store.samples import event, session


async def main(folder: Path) -> None:
    store = SqliteStore(folder / "h.db")
    await store.open()
    await store.commit(Change(events=(event(1),)))
    ballast = fill(folder / "ballast")

    stored, refused = await flood(store)
    assert refused, "the disk never became full"
    assert await stored_ids(store) == stored

    ballast.unlink()
    large = tuple(session(f"s{number}") for number in range(1000))
    await store.commit(Change(sessions=large, events=(event(20_000),)))
    ballast = fill(ballast)
    with pytest.raises(StoreFailed, match="full"):
        await store.commit(Change(sessions=tuple(session(f"t{n}") for n in range(5000))))
    ballast.unlink()
    await store.commit(Change(events=(event(20_001),)))
    await store.close()

    loaded = await store.open()
    assert [each.id for each in loaded.sessions] == [each.id for each in large]
    assert await stored_ids(store) == [*stored, 20_000, 20_001]
    await store.close()
    print("ok")  # noqa: T201


async def flood(store: SqliteStore) -> tuple[list[int], list[int]]:
    """Commit by eights until all of an eight are refused."""
    stored, refused = [1], list[int]()
    number = 1
    while len(refused) < 8:
        batch = range(number + 1, number + 9)
        number += 8
        results = await asyncio.gather(
            *(store.commit(Change(events=(event(each),))) for each in batch),
            return_exceptions=True,
        )
        for each, result in zip(batch, results, strict=True):
            assert result is None or isinstance(result, StoreFailed), result
            (stored if result is None else refused).append(each)
    return stored, refused


def fill(path: Path) -> Path:
    """Take every block that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    return path


async def stored_ids(store: SqliteStore) -> list[int]:
    return [each.id for each in await store.events(0, 100_000)]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

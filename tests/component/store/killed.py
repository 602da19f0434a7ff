"""Commits without pause and prints what was acknowledged, until it is killed.

Arguments: the database, the first event ID. One line per acknowledged change: its event's ID.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from store import SqliteStore
from supervisor.ports import Change
from tests.component.store.samples import event, session

CALLERS = 8


async def main(path: Path, first: int) -> None:
    store = SqliteStore(path)
    await store.open()
    ids = itertools.count(first)

    async def commit_for_ever() -> None:
        while True:
            number = next(ids)
            await store.commit(Change(sessions=(session(f"s{number}"),), events=(event(number),)))
            os.write(1, f"{number}\n".encode())

    await asyncio.gather(*(commit_for_ever() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

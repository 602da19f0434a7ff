"""Opens a store that must be refused and prints the refusal. Argument: the database."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from store import SqliteStore
from supervisor.errors import StartRefused


async def main(path: Path) -> None:
    try:
        await SqliteStore(path).open()
    except StartRefused as error:
        print(error)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

"""A store of each kind, open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store import MemoryStore, SqliteStore
from supervisor.ports import Store


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    kept: Store = (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state" / "h.db")
    )
    await kept.open()
    yield kept
    await kept.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    kept = SqliteStore(tmp_path / "h.db")
    await kept.open()
    yield kept
    await kept.close()

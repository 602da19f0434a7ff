"""A supervisor for each test; `rig` in the containment that is there, `each_rig` in both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.component.keeper.conftest import containment
from tests.component.supervisor.rig import Rig

__all__ = ["containment"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "s")
    await made.start()
    yield made
    await made.finish()


@pytest.fixture
async def each_rig(tmp_path: Path, containment: str) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "s", containment)
    await made.start()
    yield made
    await made.finish()

"""A real keeper for each test, in both containments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.component.keeper.post import Post


@pytest.fixture(params=["cgroup", "shim"])
def containment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def post(tmp_path: Path, containment: str) -> AsyncIterator[Post]:
    post = Post(tmp_path, containment)
    await post.start()
    await post.connect()
    yield post
    await post.finish()

"""A real keeper for each test, in both containments."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.keeper.cgroup import own_cgroup
from tests.component.keeper.post import Post


@pytest.fixture(params=["cgroup", "shim"])
def containment(request: pytest.FixtureRequest) -> str:
    home = own_cgroup()
    if request.param == "cgroup" and not (home and os.access(home, os.W_OK)) and not in_ci():
        pytest.skip("no cgroup v2 can be made here")
    return str(request.param)


def in_ci() -> bool:
    """In CI what is missing is a failure."""
    return "CI" in os.environ


@pytest.fixture(autouse=True)
def only_root_changes_users(request: pytest.FixtureRequest) -> None:
    callspec = getattr(request.node, "callspec", None)
    named = "user" in request.node.name or (callspec and callspec.params.get("user"))
    if named and os.geteuid() and not in_ci():
        pytest.skip("only root can start a child as another user")


@pytest.fixture
async def post(tmp_path: Path, containment: str) -> AsyncIterator[Post]:
    post = Post(tmp_path, containment)
    await post.start()
    await post.connect()
    yield post
    await post.finish()

"""What holds for every test: its tier, its event loop, and that it leaves nothing behind.

- Tiers run in the order unit, component, system; the folder under tests/ is the tier.
- Unit tests run on plain asyncio, the others on uvloop, as the daemon does.
- A test that leaves a task, child, descriptor, thread or (outside the unit tier) a daemon fails.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.leaks import holdings

TIERS = ("unit", "component", "system")
HERE = Path(__file__).parent


def tier(item: pytest.Item) -> str:
    """The first folder under tests/; tests elsewhere count as system tests."""
    parts = item.path.relative_to(HERE).parts if item.path.is_relative_to(HERE) else ()
    return parts[0] if parts and parts[0] in TIERS else "system"


def pytest_configure() -> None:
    """Let libuv make the one pipe per process that it keeps for ever (uv__signal_lock_pipefd)."""
    uvloop.new_event_loop().close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tiers, mark the system tests, and watch the tasks of the asynchronous ones."""
    items.sort(key=lambda item: TIERS.index(tier(item)))
    for item in items:
        if tier(item) == "system":
            item.add_marker("system")
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            watch_tasks(item.fixturenames)


def watch_tasks(fixturenames: list[str]) -> None:
    """Set up just after `leaves_nothing`, so torn down after all that a test asked for."""
    if "leaves_no_task" not in fixturenames:
        fixturenames.insert(fixturenames.index("leaves_nothing") + 1, "leaves_no_task")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop for each tier (hook of pytest-asyncio 1.5)."""
    if tier(item) == "unit":
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def leaves_nothing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a test after which there is more than before. First set up, so last torn down."""
    room = None if tier(request.node) == "unit" else tmp_path_factory.getbasetemp()
    before = holdings(room)
    yield
    left = holdings(room).left_since(before)
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture
async def leaves_no_task() -> AsyncIterator[None]:
    """Fail an asynchronous test that ends before its tasks do."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        names = "; ".join(f"task {t.get_name()} in {t.get_coro()}" for t in left)
        pytest.fail(f"left behind: {names}", pytrace=False)

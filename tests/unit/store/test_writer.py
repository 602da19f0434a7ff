"""Grouping, without a database: `Disk` is a write that a test lets through when it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from store.codec import Row
from store.writer import GROUP_ROWS, GroupWriter
from supervisor.errors import StoreFailed


class Disk:
    """Remembers the groups that it stored; refuses those with the row `bad`."""

    def __init__(self) -> None:
        self.groups: list[list[str | int]] = []
        self.tried = 0
        self.busy = asyncio.Event()
        self.free = asyncio.Event()

    async def write(self, rows: Sequence[Row]) -> None:
        self.tried += 1
        self.busy.set()
        await self.free.wait()
        names = [row.id for row in rows]
        if "bad" in names:
            raise StoreFailed("bad")
        if "bug" in names:
            raise TypeError("bug")
        self.groups.append(names)


def rows(*names: str) -> list[Row]:
    return [Row("session", name) for name in names]


async def started(writer: GroupWriter, disk: Disk, *names: str) -> list[asyncio.Task[None]]:
    """Put one change per name; the first is being written, the others wait."""
    first, *others = names
    tasks = [asyncio.create_task(writer.put(rows(first)))]
    await disk.busy.wait()
    tasks += [asyncio.create_task(writer.put(rows(name))) for name in others]
    turn = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turn.set_result, None)
    await turn  # The loop is fair: the tasks above have had their first turn.
    return tasks


async def test_what_comes_during_a_write_shares_the_next_one() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "b", "c", "d")
    disk.free.set()
    await asyncio.gather(*tasks)
    assert disk.groups == [["a"], ["b", "c", "d"]]


async def test_a_caller_waits_until_its_own_group_is_stored() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "b")
    assert not any(task.done() for task in tasks)
    disk.free.set()
    await tasks[1]
    assert disk.groups == [["a"], ["b"]]
    await writer.finish()


async def test_a_bad_change_fails_alone() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "b", "bad", "c")
    disk.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [type(None), type(None), StoreFailed, type(None)]
    assert disk.groups == [["a"], ["b"], ["c"]]


async def test_a_bad_change_alone_is_tried_once() -> None:
    disk = Disk()
    disk.free.set()
    writer = GroupWriter(disk.write)
    with pytest.raises(StoreFailed):
        await writer.put(rows("bad"))
    assert disk.tried == 1
    await writer.put(rows("a"))
    assert disk.groups == [["a"]]
    await writer.finish()


async def test_an_error_of_any_kind_reaches_the_caller_and_the_writer_goes_on() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "bug", "b")
    disk.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [type(None), TypeError, type(None)]
    assert disk.groups == [["a"], ["b"]]


async def test_a_group_is_bounded_unless_one_change_is_larger() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    large = [str(number) for number in range(GROUP_ROWS + 1)]
    tasks = await started(writer, disk, "a", *large)
    tasks.append(asyncio.create_task(writer.put(rows(*large))))
    disk.free.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in disk.groups] == [1, GROUP_ROWS, 1, GROUP_ROWS + 1]


async def test_a_cancelled_caller_takes_nothing_back() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "b", "c")
    tasks[0].cancel()
    tasks[1].cancel()
    disk.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
        type(None),
    ]
    assert disk.groups == [["a"], ["b", "c"]]


async def test_a_cancelled_caller_of_a_bad_change_leaves_no_unseen_error() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "bad", "b")
    tasks[0].cancel()
    disk.free.set()
    await tasks[1]
    await writer.finish()
    assert disk.groups == [["b"]]


async def test_when_the_writer_is_cancelled_nobody_waits_for_ever() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "b")
    for task in asyncio.all_tasks():
        if task.get_name() == "store-writer":
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError] * 2
    disk.free.set()
    await writer.put(rows("c"))
    assert disk.groups == [["c"]]
    await writer.finish()


async def test_finish_waits_for_everything_put_before() -> None:
    disk = Disk()
    writer = GroupWriter(disk.write)
    tasks = await started(writer, disk, "a", "b", "c")
    finishing = asyncio.create_task(writer.finish())
    disk.free.set()
    await finishing
    assert disk.groups == [["a"], ["b", "c"]]
    await asyncio.gather(*tasks)

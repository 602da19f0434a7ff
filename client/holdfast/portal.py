"""An event loop in a background thread, and blocking calls into it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["Portal"]

T = TypeVar("T")
LEAVING_S = 15.0  # above what stopping a command of an interrupted `run` may take


class Portal:
    """Runs coroutines on a loop of its own. Any thread may call, except the loop's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon thread, so that a program that forgot `close` still ends.
        self._thread = threading.Thread(target=self._run, name="holdfast", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return or raise what it does.

        An exception in the calling thread (Ctrl-C) cancels the coroutine and lets it clean up.
        """
        result: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self._loop.create_task(work)
            tasks.append(task)
            task.add_done_callback(lambda task: _pass_on(task, result))

        self._loop.call_soon_threadsafe(begin)
        try:
            return result.result()
        except BaseException:  # Ctrl-C, mostly; it goes on to the caller
            if not result.done():
                self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                result.exception(LEAVING_S)
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what an asynchronous generator yields; leaving early closes it."""
        try:
            while True:
                try:
                    yield self.call(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            self.call(items.aclose())

    def close(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


def _pass_on(task: asyncio.Task[T], result: Future[T]) -> None:
    if task.cancelled():
        result.set_exception(asyncio.CancelledError())
    elif error := task.exception():
        result.set_exception(error)
    else:
        result.set_result(task.result())

"""Processes for the hammers: forked, single-threaded, ended by SIGKILL at a random instant."""

from __future__ import annotations

import os
import random
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from tests.component.output.checker import PATTERN, PERIOD


class Forked:
    """A child that runs `body` and nothing else of this program, then exits."""

    def __init__(self, body: Callable[[], Any]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            _run(body)
        self.pidfd = os.pidfd_open(self.pid)

    def kill(self) -> None:
        """SIGKILL it and reap it: when this returns nothing of it is in flight."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        assert os.WIFSIGNALED(status), f"it had ended by itself: {status}"

    def lives_for(self, seconds: float) -> bool:
        """Wait so long for it to end, which it should not."""
        return not select.select([self.pidfd], [], [], seconds)[0]


def _run(body: Callable[[], Any]) -> NoReturn:
    status = 1
    with suppress(BaseException):
        body()
        status = 0
    os._exit(status)


def writer(fds: dict[int, int], max_bytes: int, seed: int) -> Callable[[], None]:
    """The body of a child that writes its streams' patterns for ever, in random pieces."""

    def body() -> None:
        chance = random.Random(seed)
        positions = dict.fromkeys(fds, 0)
        while True:
            stream = chance.choice(list(fds))
            at = positions[stream] % PERIOD
            count = chance.randint(1, max_bytes)
            piece = PATTERN[stream][at : at + count]
            positions[stream] += os.write(fds[stream], piece)

    return body

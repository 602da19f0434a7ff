"""A real daemon in a temporary state directory, for tests that kill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.system.daemon import Daemon, running

NewDaemon = Callable[..., Daemon]


@pytest.fixture
def new_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewDaemon]:
    """Make daemons: `new_daemon(tcp="127.0.0.1:0", environment={...})`, started and ready.

    Each has a state directory of its own unless `state_dir` is given. At the end of the test its
    sessions, daemons and keeper are ended.
    """
    with ExitStack() as stack:

        def make(
            state_dir: Path | None = None,
            *,
            tcp: str | None = None,
            environment: dict[str, str] | None = None,
        ) -> Daemon:
            # Short: a socket's path has 107 bytes at most.
            folder = state_dir or Path(mkdtemp(prefix="h", dir=tmp_path_factory.getbasetemp()))
            return stack.enter_context(running(folder, tcp=tcp, environment=environment or {}))

        yield make


@pytest.fixture
def daemon(new_daemon: NewDaemon) -> Daemon:
    """One daemon that answers."""
    return new_daemon()

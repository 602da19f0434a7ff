"""A real daemon in a temporary state directory, for tests that kill it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

import pytest

from supervisor.keeper.cgroup import own_cgroup
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
            launcher: Sequence[str] = (),
        ) -> Daemon:
            # Short: a socket's path has 107 bytes at most.
            folder = state_dir or Path(mkdtemp(prefix="h", dir=tmp_path_factory.getbasetemp()))
            daemon = running(folder, tcp=tcp, environment=environment, launcher=launcher)
            return stack.enter_context(daemon)

        yield make


@pytest.fixture
def daemon(new_daemon: NewDaemon) -> Daemon:
    """One daemon that answers."""
    return new_daemon()


@pytest.fixture(params=["cgroup", "shim"])
def contained(request: pytest.FixtureRequest, new_daemon: NewDaemon) -> Daemon:
    """One daemon for each way in which a keeper can hold a process tree together."""
    home = own_cgroup()
    if request.param == "cgroup" and not (home and os.access(home, os.W_OK)):
        if "CI" in os.environ:
            pytest.fail("no cgroup v2 can be made here")
        pytest.skip("no cgroup v2 can be made here")
    daemon = new_daemon(environment={"HOLDFAST_EXEC_CONTAINMENT": request.param})
    with daemon.client() as client:
        assert client.get("/v1/node").json()["containment"] == request.param
    return daemon

"""A daemon that takes each attachment and breaks it again is given up, in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.typing import Subprotocol

from holdfast import backoff
from holdfast.address import Address
from holdfast.attachment import BROKEN_TRIES
from holdfast.cli.exits import Exit
from holdfast.cli.failure import exit_of
from holdfast.cli.foreground import Join, _Foreground
from holdfast.errors import NotReachable
from holdfast.wire import SUBPROTOCOL


@pytest.fixture
async def broken(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Address, list[None]]]:
    """The address of such a daemon, and one entry for each connection it took."""
    monkeypatch.setattr(backoff, "LONGEST_S", 0.001)
    taken: list[None] = []

    async def break_off(connection: ServerConnection) -> None:
        taken.append(None)
        connection.transport.abort()

    with TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        async with unix_serve(break_off, str(path), subprotocols=[Subprotocol(SUBPROTOCOL)]):
            yield Address("http://localhost", path), taken


async def test_attaching_ends_with_a_message_and_the_code_of_an_unreachable_daemon(
    broken: tuple[Address, list[None]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, taken = broken
    how = Join(session_id="s", shown="s", tty=False, owns=True, stdin=False)
    with pytest.raises(NotReachable, match="breaks every attachment") as caught:
        await _Foreground(address, how).run()
    assert exit_of(caught.value, starting=True) == Exit.UNREACHABLE
    assert len(taken) == BROKEN_TRIES
    assert capsys.readouterr().err.count("does not answer") == 1

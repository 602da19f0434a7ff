"""What is refused before anything listens."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from api.listeners import SOCKET_PATH_BYTES, UnixListener, bind_tcp, check_exposure
from supervisor.errors import StartRefused


def test_a_path_longer_than_linux_takes_is_refused_in_words() -> None:
    longest = "/" + "x" * (SOCKET_PATH_BYTES - 1)
    UnixListener(Path(longest))
    with pytest.raises(StartRefused, match=r"108 bytes, and 107 is the most.*RUNTIME_DIR"):
        UnixListener(Path(longest + "x"))


def test_the_longest_path_can_be_bound() -> None:
    with TemporaryDirectory() as folder:
        name = "y" * (SOCKET_PATH_BYTES - len(os.fsencode(folder)) - 1)
        listener = UnixListener(Path(folder) / name)
        with listener.bind():
            assert listener.is_bound()
        listener.remove()
        assert list(Path(folder).iterdir()) == []


def test_what_is_no_socket_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(StartRefused, match="in the way"):
        UnixListener(path).bind()
    assert path.read_text() == "precious"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    former = UnixListener(tmp_path / "s")
    former.bind().close()
    newer = UnixListener(tmp_path / "s")
    with newer.bind():
        assert newer.is_bound()
        assert not former.is_bound()
        former.remove()
        assert newer.is_bound()


@pytest.mark.parametrize("address", ["4680", "localhost", "1.2.3.4:", ":80", "h:70000", "h:-1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(StartRefused, match="is not host:port"):
        bind_tcp(address)


def test_a_taken_port_is_refused_in_words() -> None:
    with bind_tcp("127.0.0.1:0") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartRefused, match="Address already in use"):
            bind_tcp(f"127.0.0.1:{port}")


def test_plain_http_for_others_is_refused_unless_a_proxy_is_in_front() -> None:
    with bind_tcp("0.0.0.0:0") as listener:
        with pytest.raises(StartRefused, match="tls_cert"):
            check_exposure(listener, tls=False, behind_proxy=False)
        check_exposure(listener, tls=True, behind_proxy=False)
        check_exposure(listener, tls=False, behind_proxy=True)
    with bind_tcp("127.0.0.1:0") as listener:
        check_exposure(listener, tls=False, behind_proxy=False)

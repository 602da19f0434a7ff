from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from supervisor import sock_diag
from supervisor.sock_diag import (
    Sockets,
    dumped,
    listening_sockets,
    parse_dump,
    parse_table,
    tabled,
)

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 51 1 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000 0 0 52 1 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 53 1 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0 61
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0 0 0 0 0 62
"""


def test_only_listening_sockets_are_found() -> None:
    assert list(parse_table(TCP)) == [(51, "127.0.0.1", 8080), (53, "0.0.0.0", 22)]


def test_addresses_of_ipv6_are_read_by_words() -> None:
    assert list(parse_table(TCP6)) == [(61, "::1", 80), (62, "::ffff:127.0.0.1", 81)]


def test_an_empty_table_has_none() -> None:
    assert list(parse_table("")) == []


def test_the_dump_of_the_kernel_and_the_tables_of_proc_agree_on_a_listener() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.create_connection(four.getsockname()),
    ):
        for found in (dumped(), tabled("/proc/self/net"), listening_sockets()):
            for address, server in (("127.0.0.1", four), ("::1", six)):
                inode = os.fstat(server.fileno()).st_ino
                assert found[inode] == (address, server.getsockname()[1])
            assert len([1 for _, port in found.values() if port == four.getsockname()[1]]) == 1


def test_where_the_dump_is_refused_the_tables_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Sockets:
        raise PermissionError

    monkeypatch.setattr(sock_diag, "dumped", refused)
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        assert listening_sockets()[inode] == ("127.0.0.1", server.getsockname()[1])


def header(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_a_refusal_in_the_dump_is_an_error_with_its_number() -> None:
    with pytest.raises(FileNotFoundError):
        parse_dump(header(2, struct.pack("=i", -2)), {})


def test_a_message_that_is_too_short_is_an_error_and_the_end_is_seen() -> None:
    with pytest.raises(OSError, match="unknown shape"):
        parse_dump(header(20, b"short"), {})
    assert parse_dump(header(3, bytes(4)), {})
    assert not parse_dump(b"", {})


def test_tables_that_are_missing_are_empty(tmp_path: Path) -> None:
    assert tabled(str(tmp_path)) == {}

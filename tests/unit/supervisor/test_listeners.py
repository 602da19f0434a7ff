from __future__ import annotations

from supervisor.listeners import parse_table

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

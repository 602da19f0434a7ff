"""No terminal query in old output is asked again, and nothing else is touched."""

from __future__ import annotations

import pytest

from holdfast.cli.replay import HELD_BYTES, QueryFilter

QUERIES = [
    b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0c", b"\x1b[=c", b"\x1b[?1c",
    b"\x1b[5n", b"\x1b[6n", b"\x1b[?6n", b"\x1b[?15n", b"\x1b[?996n",
    b"\x1b[>q", b"\x1b[>0q", b"\x1b[?2026$p", b"\x1b[4$p", b"\x1b[?u", b"\x1b[?1;1;0S",
    b"\x1b[?4m", b"\x1b[x", b"\x1b[1x",
    b"\x1b[11t", b"\x1b[13t", b"\x1b[14t", b"\x1b[14;2t", b"\x1b[18t", b"\x1b[20t", b"\x1b[21t",
    b"\x1b[1;1;1;1;1;1*y", b"\x1b[1$w", b"\x1b[1$u", b"\x1b[&u", b"\x1b['|",
    b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\", b"\x1b]10;?;?\x07", b"\x1b]4;1;?\x07", b"\x1b]5;0;?\x07",
    b"\x1b]4;1;?;2;?\x07", b"\x1b]50;?\x07", b"\x1b]21;foreground=?\x1b\\", b"\x1b]99;i=1:p=?;\x07",
    b"\x1b]52;c;?\x07", b"\x1b]52;c;aGVsbG8=\x07",
    b"\x1bP$qm\x1b\\", b"\x1bP+q544e\x1b\\", b"\x1b_Gi=31,a=q;AAAA\x1b\\", b"\x1bZ", b"\x05",
]  # fmt: skip

KEPT = [
    b"plain text\r\n", b"\xc3\xa9\xe2\x9c\x93", b"\xff\xfe\x00", b"\x1b[31mred\x1b[m",
    b"\x1b[2J\x1b[H",
    b"\x1b[?1049h", b"\x1b[?25l", b"\x1b[>1u", b"\x1b[<u",
    b"\x1b[3;10r", b"\x1b[22;0t", b"\x1b[8;24;80t",
    b"\x1b[5m", b"\x1b[1 q", b"\x1b[!p", b"\x1b[38:2:1:2:3m",
    b"\x1b]0;title? yes\x07", b"\x1b]2;a\x1b\\",
    b"\x1b]8;;http://h/?q=1\x1b\\link\x1b]8;;\x1b\\",
    b"\x1b]10;#fff\x07", b"\x1bPq#0\x1b\\", b"\x1b(B",
    b"\x1bM", b"\x1b7\x1b8", b"\x07\x08\x0e\x0f",
    b"\x1b[>4;2m", b"\x1b[u", b"\x1b[s", b"\x1b]133;A\x07",
]  # fmt: skip


def replayed(*pieces: bytes) -> bytes:
    queries = QueryFilter()
    return b"".join(map(queries.feed, pieces)) + queries.end()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_taken_out(query: bytes) -> None:
    assert replayed(b"before" + query + b"after") == b"beforeafter"


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_in_any_two_pieces_is_taken_out(query: bytes) -> None:
    for cut in range(1, len(query)):
        assert replayed(b"a" + query[:cut], query[cut:] + b"b") == b"ab", cut


@pytest.mark.parametrize("kept", KEPT)
def test_what_is_no_query_passes_unchanged(kept: bytes) -> None:
    assert replayed(kept) == kept
    assert replayed(*(bytes([byte]) for byte in kept)) == kept


def test_all_of_them_byte_by_byte() -> None:
    mixed = [sequence for pair in zip(KEPT, QUERIES, strict=False) for sequence in pair]
    assert replayed(*(bytes([b]) for b in b"".join(mixed))) == b"".join(KEPT)


def test_the_first_part_of_a_live_sequence_is_given_back_at_the_end() -> None:
    queries = QueryFilter()
    assert queries.feed(b"text\x1b]0;ti") == b"text"
    assert queries.end() == b"\x1b]0;ti"
    assert queries.end() == b""


def test_an_endless_control_string_is_not_held_for_ever() -> None:
    endless = b"\x1b]0;" + b"x" * (HELD_BYTES + 1)
    assert QueryFilter().feed(endless) == endless


def test_a_query_inside_a_multiplexer_passthrough_is_taken_out() -> None:
    assert b"11;?" not in replayed(b"\x1bPtmux;\x1b\x1b]11;?\x07\x1b\\")

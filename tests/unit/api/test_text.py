from __future__ import annotations

import random

import pytest

from api.text import Decoder, HeadTail, decode, incomplete_bytes, whole_characters_end
from supervisor.output.reader import Span, Stream

WORDS = "aé€𝄞z\n"


def spans(*pieces: tuple[int, bytes]) -> list[Span]:
    at, found = 0, []
    for stream, data in pieces:
        found.append(Span(at, Stream(stream), data, 0))
        at += len(data)
    return found


def test_what_is_no_utf_8_is_replaced() -> None:
    assert decode(b"a\xff\xc3") == "a\ufffd\ufffd"


@pytest.mark.parametrize("character", ["é", "€", "𝄞"])
def test_every_beginning_of_a_character_is_incomplete(character: str) -> None:
    data = b"a" + character.encode()
    for cut in range(2, len(data)):
        assert incomplete_bytes(data[:cut]) == cut - 1
    assert incomplete_bytes(data) == 0


@pytest.mark.parametrize("data", [b"", b"a", b"\x80\x80\x80\x80", b"\xff", b"\xc0"])
def test_what_can_never_become_a_character_is_not_incomplete(data: bytes) -> None:
    assert incomplete_bytes(data) == 0


def test_a_decoder_gives_the_same_text_wherever_the_bytes_are_cut() -> None:
    data = WORDS.encode() + b"\xff\xe2" + WORDS.encode()
    for first in range(len(data)):
        for second in range(first, len(data)):
            decoder = Decoder()
            pieces = (data[:first], data[first:second], data[second:])
            at, text = 0, ""
            for piece in pieces:
                text += decoder.feed(at, piece)[1]
                at += len(piece)
            assert text + decoder.finish()[1] == decode(data)


def test_a_decoder_says_where_the_first_complete_character_begins() -> None:
    decoder = Decoder()
    assert decoder.feed(10, b"ab\xe2") == (10, "ab")
    assert decoder.feed(20, b"\x82") == (12, "")
    assert decoder.feed(30, b"\xacz") == (12, "€z")
    assert decoder.feed(32, b"y") == (32, "y")
    assert decoder.feed(33, b"\xc3") == (33, "")
    assert decoder.finish() == (33, "\ufffd")


def test_a_page_ends_before_an_incomplete_character() -> None:
    assert whole_characters_end(spans((1, b"ab\xe2\x82"))) == 2
    assert whole_characters_end(spans((1, b"ab\xe2"), (1, b"\x82"))) == 2
    assert whole_characters_end(spans((1, b"ab\xe2"), (1, b"\x82\xac"))) == 5


def test_a_page_ends_before_the_earlier_of_two_incomplete_characters() -> None:
    assert whole_characters_end(spans((1, b"a\xe2"), (2, b"err\n"))) == 1
    assert whole_characters_end(spans((1, b"a\xe2"), (2, b"e\xc3"))) == 1
    assert whole_characters_end(spans((1, b"a\xe2"), (2, b"err\n"), (1, b"\x82\xac"))) == 8


def test_what_fits_is_kept_whole() -> None:
    kept = HeadTail(1000)
    for at in range(100):
        kept.append(at * 10, b"123456789\n")
    assert kept.result() == (b"123456789\n" * 100, None)


def test_of_too_much_the_first_40_and_the_last_60_percent_stay_cut_at_lines() -> None:
    kept = HeadTail(1000)
    lines = b"".join(b"%06d\n" % number for number in range(1000))
    kept.append(0, lines)
    data, omitted = kept.result()
    assert omitted is not None
    from_, to = omitted
    assert data == lines[:from_] + lines[to:]
    assert from_ % 7 == 0
    assert to % 7 == 0
    assert 393 <= from_ <= 400
    assert 592 <= len(lines) - to <= 600


def test_however_it_comes_the_result_is_the_same() -> None:
    chance = random.Random(3)
    lines = b"".join(b"%d\n" % chance.randrange(10**9) for number in range(1000))
    whole = HeadTail(2000)
    whole.append(0, lines)
    for _ in range(50):
        kept, at = HeadTail(2000), 0
        while at < len(lines):
            piece = lines[at : at + chance.randrange(1, 1500)]
            kept.append(at, piece)
            at += len(piece)
        assert kept.result() == whole.result()


def test_a_line_longer_than_the_room_is_cut_at_characters() -> None:
    for shift in range(3):
        kept = HeadTail(1024)
        data = b"x" * shift + "€".encode() * 5000
        kept.append(0, data)
        text, omitted = kept.result()
        assert omitted is not None
        assert "\ufffd" not in decode(text)
        assert data[: omitted[0]] + data[omitted[1] :] == text
        assert len(text) >= 1024 - 6


def test_offsets_left_out_count_the_other_stream_too() -> None:
    out, err = HeadTail(1024), HeadTail(1024)
    for number in range(1000):
        out.append(number * 20, b"o%08d\n" % number)
        err.append(number * 20 + 10, b"e%08d\n" % number)
    data, omitted = out.result()
    assert omitted is not None
    first_left_out = data.index(b"\n", 390) + 1
    assert omitted[0] == first_left_out * 2
    assert omitted[1] % 20 == 0
    assert data[first_left_out:].startswith(b"o%08d\n" % (omitted[1] // 20))


def test_what_the_log_no_longer_holds_is_left_out() -> None:
    kept = HeadTail(1024)
    kept.skip(0, 500)
    kept.append(500, b"tail\n")
    assert kept.result() == (b"tail\n", (0, 500))
    kept = HeadTail(1024)
    kept.append(0, b"head\n")
    kept.skip(5, 500)
    kept.append(500, b"tail\n")
    assert kept.result() == (b"head\ntail\n", (5, 500))


def test_memory_is_bounded_by_the_room() -> None:
    kept = HeadTail(4096)
    for at in range(1000):
        kept.append(at * 65536, b"x" * 65536)
    assert len(kept._head) + len(kept._tail) == 4096

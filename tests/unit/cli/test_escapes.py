"""Every key reaches the child but the ones that mean `hold` itself."""

from __future__ import annotations

import pytest

from holdfast.cli.escapes import EscapeKeys, Request


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (b"plain", [b"plain"]),
        (b"", []),
        (b"\x1dd", [Request.DETACH]),
        (b"ab\x1dd", [b"ab", Request.DETACH]),
        (b"\x1ddnever passed", [Request.DETACH]),
        (b"\x1d?x", [Request.HELP, b"x"]),
        (b"\x1d\x1d", [b"\x1d"]),
        (b"\x1dx", [b"\x1dx"]),
        (b"\x1d.", [b"\x1d."]),
        (b"~.", [b"~."]),
        (b"\x1b[93;5ud", [Request.DETACH]),
        (b"\x1b[27;5;93~d", [Request.DETACH]),
        (b"\x03\x1a\x1c", [b"\x03\x1a\x1c"]),
    ],
)
def test_ctrl_bracket_asks_and_all_else_is_typed(typed: bytes, found: list[bytes]) -> None:
    assert EscapeKeys().feed(typed) == found


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (b"~.", [Request.DETACH]),
        (b"~d", [Request.DETACH]),
        (b"~?", [Request.HELP]),
        (b"~~", [b"~"]),
        (b"~x", [b"~x"]),
        (b"a~.", [b"a~."]),
        (b"a\r~.", [b"a\r", Request.DETACH]),
        (b"a\n~.", [b"a\n", Request.DETACH]),
        (b"~~~.", [b"~~."]),
        (b"~\r~.", [b"~\r", Request.DETACH]),
        (b"x\x1dd", [b"x", Request.DETACH]),
        (b"\x1d.", [b"\x1d."]),
    ],
)
def test_an_escape_character_counts_at_line_start(typed: bytes, found: list[bytes]) -> None:
    assert EscapeKeys("~").feed(typed) == found


@pytest.mark.parametrize("typed", [b"ab\x1dd", b"\r~.", b"\x1d?\x1d\x1d~~\r~~x", b"\r~x\x1dq"])
def test_keys_may_arrive_one_by_one(typed: bytes) -> None:
    at_once = EscapeKeys("~").feed(typed)
    keys = EscapeKeys("~")
    one_by_one = [part for key in typed for part in keys.feed(bytes([key]))]
    assert joined(one_by_one) == joined(at_once)


def joined(parts: list[bytes | Request]) -> list[bytes | Request]:
    found: list[bytes | Request] = []
    for part in parts:
        if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += part
        else:
            found.append(part)
    return found

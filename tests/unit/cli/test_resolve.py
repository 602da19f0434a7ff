"""A part of an ID means a session only when it can mean no other."""

from __future__ import annotations

import pytest

from holdfast.cli.resolve import matching, path_of

IDS = ["01abcdef", "01abxxxx", "zzzzcdef", "Mixed-Case_1"]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("01ab", ["01abcdef", "01abxxxx"]),
        ("01abc", ["01abcdef"]),
        ("cdef", ["01abcdef", "zzzzcdef"]),
        ("zzzz", ["zzzzcdef"]),
        ("01a", []),
        ("", []),
        ("abcd", []),
        ("mixed", ["Mixed-Case_1"]),
        ("01abcdef", ["01abcdef"]),
    ],
)
def test_a_beginning_or_an_end_of_four_characters_counts(part: str, found: list[str]) -> None:
    assert matching(part, IDS) == found


@pytest.mark.parametrize("ref", ["../tokens", "a/b", "a?b=c", "a#b", "a%2fb", "a b"])
def test_no_reference_leads_to_another_route(ref: str) -> None:
    segments = path_of(ref, "stop").split("/")
    assert segments[:3] == ["", "v1", "sessions"]
    assert len(segments) == 5
    assert not set("?# ") & set(path_of(ref))

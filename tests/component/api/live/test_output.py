from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any

import httpx
import pytest

from tests.component.api.live.conftest import Node


async def output(node: Node, session_id: str, **query: Any) -> httpx.Response:
    return await node.http.get(f"/v1/sessions/{session_id}/output", params=query)


async def finished(node: Node, script: str, **fields: Any) -> str:
    session_id = await node.start(script, **fields)
    await node.ended(session_id)
    return session_id


def lines(content: str) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


async def test_everything_is_answered_with_its_range(node: Node) -> None:
    session_id = await finished(node, r"printf 'one\n\377'; printf 'two\n' >&2")
    answer = await output(node, session_id)
    assert sorted(answer.content) == sorted(b"one\n\xfftwo\n")
    assert answer.headers["holdfast-offset"] == "0"
    assert answer.headers["holdfast-next-offset"] == "9"
    assert (await output(node, session_id, stream="stderr")).content == b"two\n"
    assert (await output(node, session_id, stream="stdout", format="text")).text == "one\n\ufffd"


async def test_pages_join_to_the_whole(node: Node) -> None:
    session_id = await finished(node, "seq 1 5000; seq 1 50 >&2")
    whole = (await output(node, session_id)).content
    at, pages = 0, b""
    while True:
        answer = await output(node, session_id, offset=at, max_bytes=1000)
        pages += answer.content
        if int(answer.headers["holdfast-next-offset"]) == at:
            break
        at = int(answer.headers["holdfast-next-offset"])
    assert pages == whole


async def test_long_output_is_streamed_whole(node: Node) -> None:
    session_id = await finished(node, "seq 1 400000")
    answer = await output(node, session_id)
    assert answer.content == b"".join(b"%d\n" % number for number in range(1, 400001))
    assert answer.headers["holdfast-next-offset"] == str(len(answer.content))


async def test_the_end_can_be_asked_for_in_lines_and_bytes(node: Node) -> None:
    session_id = await finished(node, "seq 1 1000")
    assert (await output(node, session_id, tail_lines=2)).text == "999\n1000\n"
    assert (await output(node, session_id, tail_bytes=7)).text == "1000\n"
    answer = await output(node, session_id, since="2000-01-01T00:00:00Z")
    assert answer.headers["holdfast-offset"] == "0"
    assert (await output(node, session_id, since="2100-01-01T00:00:00Z")).text == ""


async def test_lines_of_json_say_where_and_when(node: Node) -> None:
    session_id = await finished(node, r"printf 'a\377'; sleep 0; printf b >&2")
    told = lines((await output(node, session_id, format="jsonl")).text)
    by_stream = {one["stream"]: one for one in told}
    assert by_stream["stdout"]["text"] == "a\ufffd"
    assert by_stream["stderr"]["text"] == "b"
    assert by_stream["stderr"]["time"].endswith("Z")
    told = lines((await output(node, session_id, format="jsonl", encoding="base64")).text)
    pieces = [base64.b64decode(one["text"]) for one in told if one["stream"] == "stdout"]
    assert b"".join(pieces) == b"a\xff"


async def test_a_time_may_be_so_many_seconds_ago(node: Node) -> None:
    session_id = await finished(node, "echo x")
    assert (await output(node, session_id, since=3600)).text == "x\n"
    assert (await output(node, session_id, since="0.0")).text == ""


async def test_colours_and_progress_bars_can_be_left_out(node: Node) -> None:
    script = r"printf ' 1%%\r\033[2K 99%%\r\033[2K100%%\r\n\033[32mdone\033[m\n'"
    session_id = await finished(node, script)
    assert (await output(node, session_id, clean="ansi,cr")).text == "100%\ndone\n"
    assert (await output(node, session_id, clean="cr", tail_lines=1)).text == "\x1b[32mdone\x1b[m\n"


async def test_a_search_shows_lines_with_their_places(node: Node) -> None:
    session_id = await finished(node, "seq 1 100000; echo 'an error' >&2")
    answer = await output(node, session_id, grep="^(777|err.*)$|error", context=1)
    assert answer.text == "776\n777\n778\nan error\n"
    assert answer.headers["holdfast-next-offset"] == str(node.session(session_id).reader.next)
    (told,) = lines((await output(node, session_id, grep="^777$", format="jsonl")).text)
    assert (told["text"], told["stream"]) == ("777\n", "stdout")
    again = await output(node, session_id, offset=told["offset"], max_bytes=4)
    assert again.text == "777\n"
    (following,) = lines(
        (await output(node, session_id, grep="^77[78]$", offset=told["next"], format="jsonl")).text
    )
    assert following["text"] == "778\n"


async def test_head_and_tail_name_what_they_leave_out(node: Node) -> None:
    session_id = await finished(node, "seq 1 20000")
    whole = (await output(node, session_id)).content
    query = {"shape": "head_tail", "max_bytes": 100}
    answer = await output(node, session_id, **query)
    start, end = map(int, answer.headers["holdfast-omitted"].split("-"))
    assert answer.content == whole[:start] + whole[end:]
    assert len(answer.content) <= 100
    assert whole[start - 1 : start] == whole[end - 1 : end] == b"\n"
    assert answer.headers["holdfast-next-offset"] == str(len(whole))
    text = (await output(node, session_id, format="text", **query)).text
    assert text.replace(f"[... {end - start} bytes left out ...]\n", "").encode() == answer.content
    told = lines((await output(node, session_id, format="jsonl", **query)).text)
    assert {"omitted": {"from": start, "to": end}} in told
    found = await output(node, session_id, grep="00$", format="text", **query)
    assert found.text.startswith("100\n200\n")
    assert found.text.endswith("\n19900\n20000\n")
    short = await output(node, session_id, shape="head_tail", tail_lines=3)
    assert (short.text, "holdfast-omitted" in short.headers) == ("19998\n19999\n20000\n", False)


async def test_the_generation_before_this_one_can_be_read_alone(node: Node) -> None:
    session_id = await finished(node, "echo $HOLDFAST_SESSION_ID; echo one")
    answer = await output(node, session_id, previous=True)
    assert answer.status_code == 404
    assert "first generation" in answer.json()["error"]["message"]
    size = len(f"{session_id}\none\n")
    for generation in (2, 3):
        await node.http.post(f"/v1/sessions/{session_id}/restart", json={})
        await node.ended(session_id)
        answer = await output(node, session_id, previous=True)
        assert answer.text == f"{session_id}\none\n"
        assert answer.headers["holdfast-offset"] == str(size * (generation - 2))
        assert answer.headers["holdfast-next-offset"] == str(size * (generation - 1))
    begin = size * 2 - 4
    assert (await output(node, session_id, previous=True, offset=begin)).text == "one\n"
    assert (await output(node, session_id, previous=True, offset=size * 3)).text == ""
    for field in ({"follow": True}, {"tail_lines": 1}, {"since": 5}):
        assert (await output(node, session_id, previous=True, **field)).status_code == 400


async def test_a_filtered_page_leaves_an_unfinished_line_to_the_next(node: Node) -> None:
    script = r"printf 'one\nERR'; read -r x; printf 'OR\nProceed? \033[3'; read -r x; printf '1my'"
    session_id = await node.start(script, stdin="pipe")
    await node.until(session_id, lambda session: session.reader.next == 7)
    first = await output(node, session_id, grep="ERROR")
    assert (first.text, first.headers["holdfast-next-offset"]) == ("", "4")
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    await node.until(session_id, lambda session: session.reader.next == 22)
    second = await output(node, session_id, grep="ERROR|Proceed", offset=4, clean="ansi")
    assert (second.text, second.headers["holdfast-next-offset"]) == ("ERROR\nProceed? ", "19")
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    await node.ended(session_id)
    assert (await output(node, session_id, offset=19, clean="ansi")).text == "y"


async def test_what_is_gone_is_410_with_the_oldest(node: Node) -> None:
    session_id = await finished(node, "head -c 3000000 /dev/zero", output={"capacity": 524288})
    oldest = node.session(session_id).reader.oldest
    assert oldest > 0
    for query in ({}, {"format": "jsonl"}, {"follow": "true"}):
        answer = await output(node, session_id, offset=0, **query)
        assert answer.status_code == 410
        assert answer.json()["error"]["details"] == {"oldest": oldest}
    answer = await output(node, session_id)
    assert answer.headers["holdfast-offset"] == str(oldest)
    assert len(answer.content) == 3000000 - oldest


@pytest.mark.parametrize(
    "query",
    [
        {"offset": 99},
        {"offset": "x"},
        {"offset": 1, "tail_lines": 1},
        {"max_bytes": 0},
        {"stream": "stdin"},
        {"format": "xml"},
        {"since": "today"},
        {"since": "-5"},
        {"grep": "("},
        {"context": 1},
        {"clean": "colour"},
        {"shape": "round"},
        {"shape": "head_tail", "follow": "true"},
        {"shape": "head_tail", "max_bytes": 1048577},
    ],
)
async def test_a_bad_query_is_refused_in_words(node: Node, query: dict[str, Any]) -> None:
    session_id = await finished(node, "echo x")
    answer = await output(node, session_id, **query)
    assert answer.status_code == 400
    assert len(answer.json()["error"]["message"]) > 10
    assert (await output(node, "nothing", **query)).status_code == 404


async def test_a_follow_goes_on_until_the_session_has_ended(node: Node) -> None:
    session_id = await node.start("echo one; read -r x; echo two", stdin="pipe")
    path = f"/v1/sessions/{session_id}/output?follow=true"
    async with node.http.stream("GET", path) as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"one\n"
        await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
        assert b"".join([piece async for piece in pieces]) == b"two\n"


async def test_a_filtered_follow_shows_lines_when_they_are_whole(node: Node) -> None:
    script = r"printf '\033[1mone\033[m\ntw'; read -r x; printf 'o\nno end'"
    session_id = await node.start(script, stdin="pipe")
    path = f"/v1/sessions/{session_id}/output?follow=true&clean=ansi&grep=o"
    async with node.http.stream("GET", path) as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"one\n"
        await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
        assert b"".join([piece async for piece in pieces]) == b"two\nno end"


async def test_a_client_that_leaves_a_follow_leaves_nothing(node: Node) -> None:
    session_id = await node.start("echo one; exec sleep 1000")
    path = f"/v1/sessions/{session_id}/output?follow=true&format=jsonl"
    async with node.http.stream("GET", path) as answer:
        assert json.loads(await anext(answer.aiter_lines()))["text"] == "one\n"
    await node.waited_for(session_id, by_anyone=False)


async def test_input_of_any_size_goes_in_at_the_childs_pace(node: Node) -> None:
    session_id = await node.start("sha1sum", stdin="pipe")
    content = bytes(range(256)) * 20_000
    answer = await node.http.post(f"/v1/sessions/{session_id}/input?close=true", content=content)
    assert answer.json() == {"next": len(content)}
    await node.ended(session_id)
    assert (await output(node, session_id)).text.split()[0] == hashlib.sha1(content).hexdigest()


async def test_input_is_repeated_only_if_it_is_equal(node: Node) -> None:
    session_id = await node.start("cat", stdin="pipe")
    path = f"/v1/sessions/{session_id}/input"
    assert (await node.http.post(f"{path}?offset=0", content=b"abc")).json() == {"next": 3}
    assert (await node.http.post(f"{path}?offset=1", content=b"bcd")).json() == {"next": 4}
    assert (await node.http.post(path, content=b"e\n")).json() == {"next": 6}
    for offset, content in ((0, b"xyz"), (7, b"x"), (7, b"")):
        answer = await node.http.post(f"{path}?offset={offset}", content=content)
        assert answer.status_code == 409
        assert answer.json()["error"]["details"] == {"next": 6}
    for _ in range(2):
        assert (await node.http.post(f"{path}?close", content=b"")).status_code == 200
    await node.ended(session_id)
    again = await node.http.post(f"{path}?close", content=b"")
    assert (again.status_code, again.json()) == (200, {"next": 6})
    assert (await node.http.post(f"{path}?close", content=b"more")).status_code == 400
    assert (await output(node, session_id)).text == "abcde\n"


async def test_a_session_without_input_refuses_it(node: Node) -> None:
    session_id = await node.start("exec sleep 1000")
    answer = await node.http.post(f"/v1/sessions/{session_id}/input", content=b"x")
    assert answer.status_code == 400


async def test_input_that_the_end_overtakes_is_refused(node: Node) -> None:
    session_id = await node.start("exec sleep 1000", stdin="pipe")
    path = f"/v1/sessions/{session_id}/input"
    writing = asyncio.create_task(node.http.post(path, content=b"x" * 3_000_000))
    await node.until(session_id, lambda one: one.input is not None and one.input.room == 0)
    await node.http.post(f"/v1/sessions/{session_id}/kill", json={})
    assert (await writing).status_code == 400

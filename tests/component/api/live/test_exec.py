from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from tests.component.api.live.conftest import Node


async def exec_(node: Node, *command: str, status: int = 200, **fields: Any) -> Any:
    body = {"command": list(command), **fields}
    answer = await node.http.post("/v1/machines/local/exec", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_command_runs_and_its_result_comes_back(node: Node) -> None:
    result = await exec_(node, "/bin/sh", "-c", "printf out; printf err >&2; exit 3")
    assert (result["stdout"], result["stderr"], result["exit_code"]) == ("out", "err", 3)
    assert (result["outcome"], result["signal"]) == ("exited", None)
    assert (result["truncated"], result["omitted"]) == (False, [])
    assert result["duration"] >= 0


async def test_both_routes_and_the_alias_are_there(node: Node) -> None:
    for path in ("/machines/local/exec", "/v1/machines/local/exec"):
        answer = await node.http.post(path, json={"cmd": ["echo", "hi"]})
        assert answer.json()["stdout"] == "hi\n"
    answer = await node.http.post("/machines/elsewhere/exec", json={"cmd": ["true"]})
    assert answer.status_code == 404


async def test_input_is_read_to_its_end(node: Node) -> None:
    text = "x" * 700_000
    result = await exec_(node, "wc", "-c", input=text)
    assert result["stdout"].strip() == "700000"


async def test_input_that_nobody_reads_holds_nothing_up(node: Node) -> None:
    assert (await exec_(node, "true", input="x" * 300_000))["exit_code"] == 0


@pytest.mark.parametrize(("program", "code"), [("/nonexistent", 127), ("/etc/passwd", 126)])
async def test_a_program_that_cannot_run_is_a_result(node: Node, program: str, code: int) -> None:
    result = await exec_(node, program, id="once")
    assert (result["exit_code"], result["outcome"]) == (code, "spawn_failed")
    assert result["stderr"].endswith("\n")
    assert len(result["stderr"]) > 10
    again = await exec_(node, program, id="once")
    assert again == result


async def test_a_missing_folder_is_refused(node: Node) -> None:
    answer = await exec_(node, "true", cwd="/nonexistent", status=400)
    assert answer["error"]["code"] == "SPAWN_FAILED"


async def test_a_string_is_refused_with_the_array_to_write(node: Node) -> None:
    answer = await node.http.post("/v1/machines/local/exec", json={"command": "ls -l 'a b'"})
    assert answer.status_code == 400
    assert '["ls", "-l", "a b"]' in answer.json()["error"]["message"]


async def test_a_timeout_says_what_was_printed_and_leaves_no_tree(node: Node) -> None:
    script = "echo before; sleep 1000 & exec sleep 1000"
    answer = await exec_(node, "/bin/sh", "-c", script, timeout=0.3, status=504)
    error = answer["error"]
    assert error["code"] == "TIMEOUT"
    assert error["message"] == "Command execution timed out after 0.3 seconds"
    assert error["details"]["stdout"] == "before\n"
    assert node.session(error["details"]["session_id"]).pids() == []


async def test_the_same_id_waits_for_the_same_result(node: Node) -> None:
    fields: dict[str, Any] = {"id": "same", "stdin": "pipe"}
    first = asyncio.create_task(exec_(node, "head", "-c", "2", **fields))
    second = asyncio.create_task(exec_(node, "head", "-c", "2", **fields))
    async with asyncio.timeout(20):
        while True:
            answer = await node.http.post("/v1/sessions/same/input", content=b"ok")
            if answer.status_code == 200:
                break
    assert (await first)["stdout"] == "ok"
    assert await second == await first
    third = await exec_(node, "head", "-c", "2", **fields)
    assert third == await first
    await exec_(node, "head", "-c", "3", status=409, **fields)


async def test_much_output_on_both_streams_is_taken_and_bounded(node: Node) -> None:
    script = "seq 1 400000; seq 1 400000 >&2"
    result = await exec_(node, "/bin/sh", "-c", script, max_output_bytes=10_000)
    for stream in ("stdout", "stderr"):
        assert result[stream].startswith("1\n2\n")
        assert result[stream].endswith("399999\n400000\n")
        assert len(result[stream]) <= 10_000
        assert len(result[stream]) > 9_900
    assert result["truncated"]
    assert len(result["omitted"]) == 2


async def test_every_byte_of_64_mib_is_counted_when_the_ring_is_small(node: Node) -> None:
    result = await exec_(
        node,
        "/bin/sh",
        "-c",
        "head -c 67108864 /dev/zero; echo end",
        output={"capacity": 524288},
        max_output_bytes=1024,
    )
    (omitted,) = result["omitted"]
    kept = len(result["stdout"])
    assert kept + omitted["to"] - omitted["from"] == 67108864 + 4
    assert result["stdout"].endswith("\0end\n")


async def test_bytes_can_be_asked_for(node: Node) -> None:
    result = await exec_(node, "printf", r"\377\000", encoding="base64")
    assert base64.b64decode(result["stdout"]) == b"\xff\0"


async def test_a_client_that_vanishes_ends_nothing(node: Node) -> None:
    fields: dict[str, Any] = {"id": "gone", "stdin": "pipe"}
    left = asyncio.create_task(exec_(node, "head", "-c", "2", **fields))
    async with asyncio.timeout(20):
        while (await node.http.post("/v1/sessions/gone/input", content=b"o")).status_code != 200:
            pass
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    again = asyncio.create_task(exec_(node, "head", "-c", "2", **fields))
    await node.http.post("/v1/sessions/gone/input", content=b"k")
    assert (await again)["stdout"] == "ok"


async def test_processes_left_behind_live_on(node: Node) -> None:
    result = await exec_(node, "/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
    session = node.session(result["session_id"])
    assert int(result["stdout"]) in session.pids()
    await node.http.post(f"/v1/sessions/{result['session_id']}/kill", json={})
    assert session.pids() == []

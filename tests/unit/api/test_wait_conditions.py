from __future__ import annotations

import msgspec
import pytest

from api.conditions import check_ready, compile_search, condition_of, simple
from api.errors import BadRequest, Invalid
from api.senses import SystemSenses
from holdfast import wire
from supervisor.conditions import (
    UntilChange,
    UntilEnded,
    UntilExit,
    UntilHttp,
    UntilIdle,
    UntilLog,
    UntilPort,
    UntilReady,
)


def read(text: str) -> object:
    asked = msgspec.json.decode(f'{{"for": [{text}]}}', type=wire.WaitRequest)
    return condition_of(asked.for_[0], SystemSenses(), "$.for[0]")


def test_words_and_objects_become_conditions() -> None:
    assert read('"exit"') == UntilExit()
    assert read('"ended"') == UntilEnded()
    assert read('"change"') == UntilChange()
    assert read('"ready"') == UntilReady()
    assert read('{"http": "http://[::1]:80/x"}') == UntilHttp("http://[::1]:80/x")
    assert read('{"http": "http://localhost", "status": 204}') == UntilHttp("http://localhost", 204)
    assert read('{"port": 80}') == UntilPort(80)
    assert read('{"port": "any"}') == UntilPort(None)
    assert read('{"idle": 2.5}') == UntilIdle(2.5)
    log = read('{"log": "ready", "stream": "stderr"}')
    assert isinstance(log, UntilLog)
    assert log.stream == 2


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"port": 80, "idle": 1}',
        '{"port": 0}',
        '{"port": 65536}',
        '{"port": 80, "stream": "stdout"}',
        '{"log": ""}',
        '{"log": "("}',
        '{"log": "(?=a)"}',
        '{"idle": 0}',
        '"birth"',
        '{"http": ""}',
        '{"http": "http://example.org/"}',
        '{"http": "http://localhost/", "status": 99}',
        '{"port": 80, "status": 200}',
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises((Invalid, msgspec.ValidationError)):
        read(text)


def test_a_pattern_that_is_too_long_is_refused() -> None:
    with pytest.raises(Invalid):
        compile_search("x" * 4097, "$")


def test_the_simple_conditions_of_a_query() -> None:
    assert simple("exit") == "exit"
    assert simple("ready") == "ready"
    assert simple("http:http://x:1/y") == wire.Condition(http="http://x:1/y")
    assert simple("log:a:b") == wire.Condition(log="a:b")
    assert simple("port:80") == wire.Condition(port=80)
    assert simple("port:any") == wire.Condition(port="any")
    assert simple("idle:2.5") == wire.Condition(idle=2.5)


@pytest.mark.parametrize(
    "text", ["", "birth", "http:", "exit:1", "port:", "port:x", "idle:x", "idle:-1", "idle:nan"]
)
def test_other_words_of_a_query_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        simple(text)


def test_a_search_is_by_line() -> None:
    assert compile_search("^b.*d$", "$")(b"a\nbcd\ne") == (2, 5)
    assert compile_search(r"a\s+b", "$")(b"a\nb") is None
    assert compile_search("[^x]+", "$")(b"\nab\ncd") == (1, 3)


def test_a_search_takes_utf_8_and_passes_over_what_is_none() -> None:
    assert compile_search("ü.$", "$")("\xff\n".encode("latin-1") + "xü€".encode()) == (3, 8)


def test_a_pattern_that_others_choke_on_takes_linear_time() -> None:
    assert compile_search("(x+x+)+y", "$")(b"x" * 262144) is None


def test_the_same_pattern_is_compiled_once_while_it_is_in_use() -> None:
    first = compile_search("a+", "$")
    assert compile_search("a+", "$") is first
    assert compile_search("a*", "$") is not first


@pytest.mark.parametrize(
    "ready", [{}, {"log": "("}, {"port": 0}, {"http": "http://10.0.0.1/"}, {"log": "a", "idle": 1}]
)
def test_a_ready_that_could_never_be_met_is_refused(ready: dict[str, object]) -> None:
    with pytest.raises(Invalid, match=r".") as refused:
        check_ready(msgspec.convert(ready, wire.Condition), SystemSenses())
    assert str(refused.value.details["path"]).startswith("$.ready")

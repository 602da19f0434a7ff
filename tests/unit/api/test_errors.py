"""The table of errors: complete, and answered in one shape."""

from __future__ import annotations

import msgspec
import pytest

from api import errors as own
from api.errors import TABLE, answer, describe
from holdfast import wire
from supervisor import errors
from supervisor.lifecycle import IllegalEvent

CODES = {
    "BAD_REQUEST", "SPAWN_FAILED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND",
    "CONFLICT", "NAME_IN_USE", "GONE", "TOO_LARGE", "VALIDATION_FAILED", "LIMIT_REACHED",
    "INTERNAL", "NODE_UNREACHABLE", "UNAVAILABLE", "TIMEOUT",
}  # fmt: skip


def below(base: type[Exception]) -> set[type[Exception]]:
    return {base, *(found for child in base.__subclasses__() for found in below(child))}


@pytest.mark.parametrize(
    "kind",
    sorted(
        (below(errors.SupervisorError) | below(own.ApiError))
        - {errors.SupervisorError, own.ApiError, errors.StartRefused, IllegalEvent},
        key=str,
    ),
)
def test_every_error_has_a_status_and_a_code_of_the_closed_set(kind: type[Exception]) -> None:
    status, body = describe(kind("It is so."))
    assert status < 500 or status in (503, 504)
    assert body.code in CODES
    assert body.message == "It is so."


def test_the_nearest_ancestor_decides() -> None:
    assert describe(errors.NameInUse("x"))[1].code == "NAME_IN_USE"
    assert describe(errors.InputConflict("x", next=4)) == (
        409,
        wire.ErrorBody(code="CONFLICT", message="x", details={"next": 4}),
    )
    assert describe(errors.SpawnRefused("x"))[1].code == "SPAWN_FAILED"
    assert TABLE[errors.Refused] == (400, "BAD_REQUEST")


def test_json_of_the_wrong_shape_names_the_path() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"size": {"rows": 0, "cols": 1}}', type=wire.SessionRequest)
    status, body = describe(caught.value)
    assert (status, body.code) == (422, "VALIDATION_FAILED")
    assert body.details == {"path": "$.size.rows"}


def test_what_is_not_json_is_a_bad_request() -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(b"{", type=wire.SessionRequest)
    assert describe(caught.value)[0] == 400


def test_an_error_nobody_expected_tells_nothing_of_itself() -> None:
    status, body = describe(RuntimeError("password=hunter2"))
    assert (status, body.code) == (500, "INTERNAL")
    assert "hunter2" not in body.message


def test_the_body_is_the_one_shape_of_all_errors() -> None:
    response = answer(errors.Gone("It is gone.", oldest=7), {"X-Y": "z"})
    assert response.status_code == 410
    assert response.headers["x-y"] == "z"
    assert msgspec.json.decode(response.body) == {
        "error": {"code": "GONE", "message": "It is gone.", "details": {"oldest": 7}}
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"name": "bad name"}', "name: expected 1 to 64 letters, digits, _ or -, beginning"),
        (b'{"labels": {"a b": "c"}}', "expected 1 to 63 letters"),
        (b'{"size": {"rows": 0, "cols": 1}}', "size.rows: expected `int` >= 1."),
        (b'{"nme": "x"}', "Object contains unknown field `nme`."),
    ],
)
def test_what_is_wrong_is_said_with_its_field_and_without_a_pattern(body: bytes, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=wire.SessionRequest)
    message = describe(caught.value)[1].message
    assert said in message
    assert "regex" not in message

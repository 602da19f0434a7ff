from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.address import resolve
from holdfast.errors import BadRequest


def test_an_argument_wins_over_the_environment() -> None:
    address = resolve(
        "http://a:1", "t1", environ={"HOLDFAST_URL": "http://b", "HOLDFAST_TOKEN": "t2"}
    )
    assert (address.base_url, address.token) == ("http://a:1", "t1")


def test_the_environment_names_url_and_token() -> None:
    address = resolve(environ={"HOLDFAST_URL": "https://b:2/", "HOLDFAST_TOKEN": "t2"})
    assert (address.base_url, address.token) == ("https://b:2", "t2")
    assert address.headers() == {"Authorization": "Bearer t2"}
    assert address.websocket_url == "wss://b:2"


def test_a_token_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hf_secret\n")
    address = resolve("http://a", environ={"HOLDFAST_TOKEN_FILE": str(file)})
    assert address.token == "hf_secret"


def test_a_token_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no-file"):
        resolve("http://a", environ={"HOLDFAST_TOKEN_FILE": str(tmp_path / "no-file")})


def test_a_token_of_the_environment_does_not_go_to_a_unix_socket() -> None:
    assert resolve("unix:///run/s", environ={"HOLDFAST_TOKEN": "t"}).headers() == {}


def test_a_unix_url_names_the_socket() -> None:
    address = resolve("unix:///run/a%20b.sock", environ={})
    assert address.socket == Path("/run/a b.sock")
    assert address.shown == "unix:///run/a b.sock"


@pytest.mark.parametrize(
    "url", ["x", "unix:rel", "unix://host/p", "ftp://a", "http://", "http://u@h"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="is not an address"):
        resolve(url, environ={})


def test_a_password_in_a_url_is_not_echoed() -> None:
    with pytest.raises(BadRequest) as caught:
        resolve("http://me:secret@h", environ={})
    assert "secret" not in str(caught.value)


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(resolve("http://a", "secret", environ={}))


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("unix:///s", False),
        ("http://localhost:1", False),
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://example.org", True),
    ],
)
def test_proxies_stand_only_before_other_machines(url: str, *, proxied: bool) -> None:
    assert resolve(url, environ={}).uses_proxy is proxied

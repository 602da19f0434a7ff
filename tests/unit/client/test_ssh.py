from __future__ import annotations

import pytest

from holdfast.address import resolve
from holdfast.errors import BadRequest
from holdfast.ssh import SshTarget, parse_ssh
from holdfast.tunnel import Probe, TunnelFailed


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ssh://box", SshTarget("box")),
        ("ssh://Box_1.example/", SshTarget("Box_1.example")),
        ("ssh://me@box:2222", SshTarget("box", "me", 2222)),
        ("ssh://[fe80::1%eth0]:22", SshTarget("fe80::1%eth0", None, 22)),
    ],
)
def test_a_url_names_user_host_and_port(url: str, target: SshTarget) -> None:
    assert parse_ssh(url) == target
    assert resolve(url, "t", environ={}).shown == url.removesuffix("/")
    assert resolve(url, "t", environ={"HOLDFAST_TOKEN": "t"}).headers() == {}


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://-l@box",
        "ssh://me:secret@box",
        "ssh://box/path",
        "ssh://box:0",
        "ssh://box:65536",
        "ssh://box:x",
        "ssh://box?x",
        "ssh://a b",
        "ssh://a;b",
        "ssh://box\n",
        "ssh://[::1",
    ],
)
def test_what_could_be_an_option_or_more_than_a_name_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="is not an address"):
        resolve(url, environ={})


def test_user_and_host_stand_where_no_option_can() -> None:
    argv = SshTarget("box", "me", 2222).argv(asks=True, starts=True)
    assert argv[-4:] == ["--", "box", "hold", "dial-stdio"]
    assert argv[argv.index("-l") + 1] == "me"
    assert argv[argv.index("-p") + 1] == "2222"
    assert "BatchMode=yes" not in argv


def test_without_a_terminal_ssh_asks_nobody() -> None:
    argv = SshTarget("box").argv(asks=False, starts=False)
    assert argv[argv.index("BatchMode=yes") - 1] == "-o"
    assert argv[-3:] == ["hold", "--no-autostart", "dial-stdio"]


def test_an_answer_is_complete_with_its_body_however_it_is_cut() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ndate: x\r\n\r\n{}"
    probe = Probe()
    fed = [probe.feed(answer[at : at + 1]) for at in range(len(answer))]
    assert fed == [False] * (len(answer) - 1) + [True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "closed before"),
        (b"Welcome!\n", "prints 'Welcome!"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "no Holdfast"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 40_000, "no Holdfast"),
    ],
)
def test_another_answer_is_explained(content: bytes, words: str) -> None:
    with pytest.raises(TunnelFailed, match=words):
        Probe().feed(content)

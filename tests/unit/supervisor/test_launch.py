"""From a spec to what is spawned: argv, environment, user and groups."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest

from supervisor.environment import child_environment, env_hash
from supervisor.keeper.client import SpawnFailed
from supervisor.launch import spawn_request
from supervisor.records import Size, Spec
from tests.unit.supervisor.samples import record

ME = pwd.getpwuid(os.geteuid())
STRANGER = pwd.struct_passwd(("ann", "x", 54321, 54321, "", "/home/ann", "/bin/ash"))


@pytest.mark.parametrize(
    ("command", "shell", "argv"),
    [
        (("a", "b c"), None, ("a", "b c")),
        (("a", "b c"), "none", ("a", "b c")),
        ("a 'b c'", "none", ("a", "b c")),
        ("a | b", "/bin/zsh", ("/bin/zsh", "-c", "a | b")),
        ("a | b", "bash -lc", ("bash", "-lc", "a | b")),
        ("a | b", "bash -c", ("bash", "-c", "a | b")),
        (("a", "b c"), "bash -lc", ("bash", "-lc", "a 'b c'")),
        (("a", "b c"), "/bin/zsh", ("/bin/zsh", "-c", "a 'b c'")),
        (None, None, (ME.pw_shell or "/bin/sh",)),
        (None, "/bin/zsh", ("/bin/zsh",)),
    ],
)
def test_argv_and_shell(command: Any, shell: str | None, argv: tuple[str, ...]) -> None:
    assert spawn_request(record(spec=Spec(command=command, shell=shell)), 0).argv == argv


def test_auto_finds_a_shell_on_the_childs_own_path(tmp_path: Any) -> None:
    shell = tmp_path / "sh"
    shell.write_text("#!/bin/sh\n")
    shell.chmod(0o755)
    spec = Spec(command="true", shell="auto", env={"PATH": str(tmp_path)})
    assert spawn_request(record(spec=spec), 0).argv == (str(shell), "-c", "true")


@pytest.mark.parametrize("fields", [{"user": "no-such-user"}, {"group": "no-such-group"}])
def test_an_unknown_user_or_group_is_refused_with_its_stage(fields: dict[str, Any]) -> None:
    with pytest.raises(SpawnFailed) as raised:
        spawn_request(record(spec=Spec(command=("a",), **fields)), 0)
    assert raised.value.stage == "user"


def test_the_own_user_changes_nothing_and_another_group_does() -> None:
    plain = spawn_request(record(spec=Spec(command=("a",), user=str(os.geteuid()))), 0)
    assert (plain.uid, plain.gid, plain.groups) == (None, None, None)
    other = spawn_request(record(spec=Spec(command=("a",), group="54321")), 0)
    assert (other.uid, other.gid) == (os.geteuid(), 54321)
    assert 54321 in (other.groups or ())


def test_the_size_is_the_sessions_else_the_specs_else_the_detached_one() -> None:
    spec = Spec(command=("a",), size=Size(1, 2))
    sizes = [
        record(spec=spec, size=Size(3, 4)),
        record(spec=spec),
        record(spec=Spec(command=("a",))),
    ]
    found = [(made.rows, made.cols) for made in (spawn_request(each, 0) for each in sizes)]
    assert found == [(3, 4), (1, 2), (40, 160)]


def test_later_layers_of_the_environment_win() -> None:
    base = {"HOME": "/base", "A": "base", "B": "base", "HOLDFAST_SESSION_ID": "forged"}
    one = record(base_env=base, spec=Spec(command=("a",), env={"B": "env", "HOLDFAST_NODE": "?"}))
    found = child_environment(one, ME)
    assert (found["HOME"], found["A"], found["B"]) == ("/base", "base", "env")
    assert (found["HOLDFAST_SESSION_ID"], found["HOLDFAST_NODE"]) == ("x", "n1")
    assert found["USER"] == found["LOGNAME"] == ME.pw_name


def test_the_daemons_own_variables_do_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in (ME, STRANGER):
        monkeypatch.setenv("HOLDFAST_TOKEN", "secret")
        monkeypatch.setenv("AWS_SECRET", "secret")
        assert "secret" not in child_environment(record(), user).values()


def test_of_the_callers_environment_another_user_gets_four_harmless_words() -> None:
    base = {
        "TERM": "vt100",
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "SECRET": "s",
        "PATH": "/mine",
    }
    found = child_environment(record(base_env=base, spec=Spec(env={"GIVEN": "yes"})), STRANGER)
    assert {key: found[key] for key in ("TERM", "LANG", "LC_ALL", "TZ")} == {
        key: base[key] for key in ("TERM", "LANG", "LC_ALL", "TZ")
    }
    assert "SECRET" not in found
    assert found["PATH"] != "/mine"
    assert (found["HOME"], found["SHELL"], found["GIVEN"]) == ("/home/ann", "/bin/ash", "yes")


@pytest.mark.parametrize(
    ("base", "env", "term"),
    [({}, {}, "xterm-256color"), ({"TERM": "vt100"}, {}, "vt100"), ({}, {"TERM": "a"}, "a")],
)
def test_a_terminal_has_a_name(base: dict[str, str], env: dict[str, str], term: str) -> None:
    one = record(base_env=base, spec=Spec(command=("a",), tty=True, env=env))
    assert child_environment(one, ME)["TERM"] == term


def test_the_hash_tells_equality_and_no_value() -> None:
    one = env_hash({"A": "1", "B": "2"})
    assert one == env_hash({"B": "2", "A": "1"})
    assert one != env_hash({"A": "1", "B": "3"})
    assert len(one) == 16

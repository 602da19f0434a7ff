"""What is typed becomes the request that was meant, or a usage error (64)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import pytest

from holdfast.cli.arguments import pairs, size_of
from holdfast.cli.commands.attach import escape_of
from holdfast.cli.commands.exec import exec_command
from holdfast.cli.commands.ls import command_of, filters_of, state_of
from holdfast.cli.commands.wait import condition_of, exit_of_wait
from holdfast.cli.invocation import Invocation
from holdfast.cli.main import MODULES, cli, main
from holdfast.cli.spec import body_of, sendable, variables

GIVEN: dict[str, Any] = {
    "id_": None, "name": None, "labels": (), "env": (), "env_file": (), "clean_env": False,
    "cwd": None, "user": None, "shell": None, "size": None, "timeout": None, "replace": False,
    "idle_timeout": None, "disconnect_timeout": None,
}  # fmt: skip
REMOTE = Invocation(url="http://localhost:1")


def body(command: tuple[str, ...] = ("true",), **given: Any) -> dict[str, Any]:
    made = body_of(REMOTE, command, {**GIVEN, **given}, kind="start", tty=True, stdin="pipe")
    return {key: value for key, value in made.items() if key not in {"kind", "tty", "stdin"}}


@pytest.mark.parametrize("name", MODULES)
def test_every_command_is_where_the_table_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("exit", "exit"), ("ended", "ended"), ("change", "change"),
        ("log:ready: .*", {"log": "ready: .*"}),
        ("port:80", {"port": 80}), ("port:any", {"port": "any"}), ("idle:1.5", {"idle": 1.5}),
    ],
)  # fmt: skip
def test_conditions_in_words(text: str, condition: Any) -> None:
    assert condition_of(text) == condition


@pytest.mark.parametrize(
    "text",
    [
        "",
        "port:",
        "port:x",
        "idle:",
        "log:",
        "Exit",
        "http:x",
        "port:0",
        "port:65536",
        "idle:0",
        "idle:nan",
        "idle:inf",
    ],
)
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(click.BadParameter):
        condition_of(text)


@pytest.mark.parametrize("text", ["24", "x", "0x80", "24x65536", "24x-1", "24x80x1", "axb"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(click.BadParameter):
        size_of(text)


def test_a_size_is_rows_by_columns() -> None:
    assert size_of("24x80") == {"rows": 24, "cols": 80}


def test_an_escape_character_is_one_or_none() -> None:
    assert escape_of("none") is None
    assert escape_of("~") == "~"
    for wrong in ("", "ab", "é", "\x1b"):
        with pytest.raises(click.BadParameter):
            escape_of(wrong)


def test_pairs_need_an_equals_sign() -> None:
    assert pairs(["a=b=c", "d="], "x") == {"a": "b=c", "d": ""}
    for wrong in ("a", "=b", ""):
        with pytest.raises(click.UsageError):
            pairs([wrong], "x")


def test_a_repeated_filter_means_either() -> None:
    assert filters_of(["state=exited", "state=lost", "label=a=b"]) == {
        "state": ["exited", "lost"],
        "label": ["a=b"],
    }


@pytest.mark.parametrize(
    ("args", "target", "command"),
    [
        (["--", "ls", "-la"], None, ("ls", "-la")),
        (["box", "--", "ls"], "box", ("ls",)),
        (["-it", "box", "-e", "A=b", "--", "ls", "--", "x"], "box", ("ls", "--", "x")),
        (["box", "-t", "--", "sh"], "box", ("sh",)),
        ([], None, ()),
    ],
)
def test_exec_takes_what_stands_behind_the_dashes(
    args: list[str], target: str | None, command: tuple[str, ...]
) -> None:
    context = exec_command.make_context("exec", list(args))
    assert (context.params["target"], context.meta["command"]) == (target, command)


@pytest.mark.parametrize(
    ("args", "interactive", "tty"),
    [
        ([], True, None),
        (["-t=false", "-i=false"], False, False),
        (["-i=true", "-t=true"], True, True),
    ],
)
def test_exec_reads_flags_with_values(
    args: list[str], *, interactive: bool, tty: bool | None
) -> None:
    params = exec_command.make_context("exec", [*args, "--", "sh"]).params
    assert (params["interactive"], params["tty"]) == (interactive, tty)


def test_exec_without_dashes_does_not_guess() -> None:
    with pytest.raises(click.UsageError):
        exec_command.make_context("exec", ["box", "ls"])


def test_an_empty_name_is_sent_to_be_refused() -> None:
    assert body(name="")["name"] == ""
    assert "name" not in body()


def test_nothing_of_the_caller_goes_to_another_daemon() -> None:
    made = body()
    assert set(made) == {"id", "command"}


def test_directory_and_environment_go_to_the_callers_own_daemon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HOLDFAST_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONLY_HERE", "1")
    own = body_of(Invocation(), ("true",), {**GIVEN, "cwd": "below"}, tty=False)
    assert own["cwd"] == str(tmp_path / "below")
    assert own["base_env"]["ONLY_HERE"] == "1"
    clean = body_of(Invocation(), ("true",), {**GIVEN, "clean_env": True}, tty=False)
    assert "base_env" not in clean


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"name": "web", "id_": "one"}, {"name": "web", "id": "one"}),
        ({"labels": ("a=b",)}, {"labels": {"a": "b"}}),
        ({"env": ("A=b",)}, {"env": {"A": "b"}}),
        ({"user": "www"}, {"user": "www"}),
        ({"user": "33:44"}, {"user": 33, "group": 44}),
        ({"user": "0:0"}, {"user": 0, "group": 0}),
        ({"timeout": 1.5}, {"timeouts": {"run": 1.5}}),
        ({"size": {"rows": 1, "cols": 2}}, {"size": {"rows": 1, "cols": 2}}),
        ({"replace": True}, {"replace": True}),
    ],
)
def test_options_become_fields(given: dict[str, Any], fields: dict[str, Any]) -> None:
    made = body(**given)
    assert {key: made[key] for key in fields} == fields


def test_words_are_argv_and_a_string_for_a_shell() -> None:
    assert body(("echo", "a b"))["command"] == ["echo", "a b"]
    assert body(("echo a | cat",), shell="auto")["command"] == "echo a | cat"
    assert body(())["command"] is None


def test_variables_of_files_give_way_to_those_on_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    monkeypatch.delenv("NOWHERE", raising=False)
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=file\nB=file\nFROM_HERE\nNOWHERE\n")
    found = variables(("A=line",), (str(file),))
    assert found == {"A": "line", "B": "file", "FROM_HERE": "here"}


def test_a_variable_that_json_cannot_carry_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert sendable({"GOOD": "é", "BAD": os.fsdecode(b"\xff")}) == {"GOOD": "é"}
    assert "BAD" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [["nothing"], ["ls", "--nothing"], ["wait", "x", "--for", "y"], ["stop"],
     ["resize", "x", "0x1"],
     ["exec", "--cmd", "a", "--", "b"], ["logs"], ["stop", "a", "--all"], ["completion", "tcsh"]],
)  # fmt: skip
def test_usage_errors_are_64_and_one_line(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-H", "http://localhost:1", *args]) == 64
    err = capsys.readouterr().err
    assert err.startswith("hold: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_HOLD_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("met", "reason", "session", "exit_code"),
    [
        (0, "met", {"outcome": "exited", "exit_code": 7}, 7),
        (1, "met", {"outcome": None, "exit_code": None}, 0),
        (None, "ended", {"id": "x", "message": "Exited."}, 3),
        (None, "timeout", {"id": "x"}, 124),
    ],
)
def test_wait_exits_as_it_ended(
    met: int | None, reason: str, session: dict[str, Any], exit_code: int
) -> None:
    conditions = ["exit", {"port": 80}]
    assert exit_of_wait(conditions, {"met": met, "reason": reason, "session": session}) == exit_code


def test_ls_shows_commands_and_ends_as_people_write_them() -> None:
    assert command_of(["echo", "a b"], None) == "echo 'a b'"
    assert command_of("a | b", "auto") == "a | b"
    assert command_of(None, None) == "(shell)"
    assert state_of({"state": "running"}) == "running"
    assert state_of({"state": "exited", "outcome": "exited", "exit_code": 3}) == "exited 3"
    assert state_of({"state": "exited", "outcome": "killed", "exit_code": 137}) == "killed 137"
    assert state_of({"state": "lost", "outcome": "lost", "exit_code": None}) == "lost"

"""Settings: where they come from, which wins, and what is refused in words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from api.settings import Settings, load
from supervisor.errors import StartRefused

DOCUMENTED = Path(__file__).parents[3] / "config" / "default.toml"


@pytest.fixture
def nowhere(tmp_path: Path) -> Mapping[str, str]:
    """An environment whose user has no settings file."""
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_documented_defaults_are_those_in_the_code() -> None:
    documented = msgspec.convert(tomllib.loads(DOCUMENTED.read_text()), Settings)
    assert documented == Settings()


def test_every_setting_is_documented() -> None:
    text = DOCUMENTED.read_text()
    for section in Settings.__struct_fields__:
        keys = getattr(Settings(), section).__struct_fields__
        body = text.partition(f"[{section}]\n")[2].partition("\n[")[0]
        assert set(re.findall(r"^(?:# )?(\w+) = ", body, re.MULTILINE)) == set(keys)


def test_without_anything_said_the_defaults_hold(nowhere: Mapping[str, str]) -> None:
    assert load(nowhere) == Settings()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[listen]\ntcp = "file:1"\n[limits]\nsessions = 7\nattachments = 8\n')
    settings = load(
        {"HOLDFAST_LISTEN_TCP": "env:2", "HOLDFAST_LIMITS_SESSIONS": "9"},
        config=file,
        flags={("listen", "tcp"): "flag:3"},
    )
    assert settings.listen.tcp == "flag:3"
    assert (settings.limits.sessions, settings.limits.attachments) == (9, 8)


def test_the_environment_is_read_as_the_type_of_the_setting(nowhere: Mapping[str, str]) -> None:
    given = {
        "HOLDFAST_EXEC_ENABLED": "false",
        "HOLDFAST_LISTEN_HOSTS": "a.example,b.example",
        "HOLDFAST_STATE_DIR": "/somewhere",
        "HOLDFAST_RUNTIME_DIR": "/run/elsewhere",
    }
    settings = load({**nowhere, **given})
    assert settings.exec.enabled is False
    assert settings.listen.hosts == ("a.example", "b.example")
    assert settings.state_dir == Path("/somewhere")
    assert settings.socket_path == Path("/run/elsewhere/holdfast.sock")


def test_the_socket_lies_in_the_state_directory_unless_moved(nowhere: Mapping[str, str]) -> None:
    settings = load({**nowhere, "HOLDFAST_STATE_DIR": "/s"})
    assert settings.socket_path == Path("/s/run/holdfast.sock")


def test_what_belongs_to_clients_and_sessions_is_not_read(nowhere: Mapping[str, str]) -> None:
    names = ("URL", "TOKEN", "TOKEN_FILE", "CONTEXT", "SESSION_ID", "NODE")
    assert load({**nowhere, **{f"HOLDFAST_{name}": "x" for name in names}}) == Settings()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[lissen]\ntcp = ''", "[lissen] is no section"),
        ("[listen]\ntpc = ''", "listen.tpc is no setting"),
        ("listen = 4", "[listen] is no section"),
        ("[limits]\nsessions = 0", "limits.sessions is wrong"),
        ("[limits]\nsessions = 'many'", "limits.sessions is wrong"),
        ("[node]\nid = 'a b'", "node.id"),
        ("[", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(written)
    with pytest.raises(StartRefused, match=re.escape(said)):
        load({}, config=file)


def test_an_unknown_key_of_a_section_in_the_environment_is_refused() -> None:
    with pytest.raises(StartRefused, match="HOLDFAST_LIMITS_SESIONS is no setting"):
        load({"HOLDFAST_LIMITS_SESIONS": "3"})


def test_lists_in_the_environment_are_separated_by_commas(nowhere: Mapping[str, str]) -> None:
    given = load({**nowhere, "HOLDFAST_WAIT_HTTP_HOSTS": "a.example,b.example"})
    assert given.wait.http_hosts == ("a.example", "b.example")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="There is no settings file"):
        load({"HOLDFAST_CONFIG": str(tmp_path / "none.toml")})


def test_the_node_is_called_as_set_or_like_its_host() -> None:
    named = msgspec.convert({"node": {"id": "alpha"}}, Settings)
    assert named.node_id == "alpha"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", Settings().node_id)

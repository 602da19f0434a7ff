"""Settings: defaults in code, under the user's TOML file, under the environment, under flags.

Rules
- The defaults are those of the classes below; `config/default.toml` documents them, and a test
  keeps the two equal.
- A key nobody knows is refused in words, in the file and as `HOLDFAST_<SECTION>_<KEY>`.
- Values of the environment are read as TOML would write them: numbers, true or false, else text.
- A relative place counts from the current directory, in the file from that file's folder. Clients
  find the daemon by the same rules (`holdfast.places`).
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from supervisor.errors import StartRefused
from supervisor.ids import is_id

__all__ = ["Exec", "Limits", "Listen", "Node", "Output", "Settings", "State", "Wait", "load"]

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1024, le=1 << 50)]

# Names that do not follow HOLDFAST_<SECTION>_<KEY>.
_SHORT: Final = {"HOLDFAST_RUNTIME_DIR": ("state", "runtime_dir")}
_LISTS: Final = frozenset({"hosts", "http_hosts"})
_SEE: Final = "config/default.toml lists them all"


class Node(Struct, frozen=True, kw_only=True):
    """Who this node is: `id` is the host's name unless set."""

    id: str | None = None


class Listen(Struct, frozen=True, kw_only=True):
    """Where requests come in beside the unix socket.

    `tcp` is `host:port`, empty for none. Other than loopback it needs `tls_cert` and `tls_key`, or
    `behind_proxy` where a proxy ends TLS. `hosts` are further names by which clients reach it.
    """

    tcp: str = ""
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: bool = False
    hosts: tuple[str, ...] = ()


class State(Struct, frozen=True, kw_only=True):
    """Where everything durable lies; `runtime_dir` moves only `holdfast.sock`."""

    dir: str | None = None
    runtime_dir: str | None = None


class Output(Struct, frozen=True, kw_only=True):
    """Bytes of output: kept per session unless it says otherwise, on the node, left free.

    `node_bytes` None: the smaller of 8 GiB and 20 % of the file system.
    """

    capacity_bytes: Annotated[int, Meta(ge=512 * 1024, le=1 << 40)] = 16 * 1024 * 1024
    node_bytes: Bytes | None = None
    reserve_bytes: Bytes = 64 * 1024 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """How much of everything. `sessions` may be less where descriptors are few."""

    sessions: Count = 5000
    attachments: Count = 1000
    connections: Count = 2000
    body_bytes: Bytes = 1024 * 1024
    argv_env_bytes: Bytes = 1024 * 1024


class Exec(Struct, frozen=True, kw_only=True):
    """How commands run: whether `POST /machines/{id}/exec` answers, and what holds a tree.

    `containment` is for keepers started from now on: `cgroup`, `shim`, or `auto`, which is a
    cgroup where one can be made.
    """

    enabled: bool = True
    containment: Literal["auto", "cgroup", "shim"] = "auto"


class Wait(Struct, frozen=True, kw_only=True):
    """What waits may look at: `http_hosts` may be asked beside loopback, `*` is any host."""

    http_hosts: tuple[str, ...] = ()


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, one attribute for each section."""

    node: Node = Node()
    listen: Listen = Listen()
    state: State = State()
    output: Output = Output()
    limits: Limits = Limits()
    exec: Exec = Exec()
    wait: Wait = Wait()

    @property
    def node_id(self) -> str:
        """The node's ID: as set, else the host's name made fit for one."""
        if self.node.id is not None:
            return self.node.id
        cleaned = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])
        return cleaned.lstrip("-_")[:64] or "node"

    @property
    def state_dir(self) -> Path:
        """The state directory, absolute."""
        if self.state.dir:
            return Path(self.state.dir).expanduser().absolute()
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(base).expanduser().absolute() / "holdfast"

    @property
    def socket_path(self) -> Path:
        """Where the unix socket lies."""
        if self.state.runtime_dir:
            folder = Path(self.state.runtime_dir).expanduser().absolute()
        else:
            folder = self.state_dir / "run"
        return folder / "holdfast.sock"


def load(
    environment: Mapping[str, str],
    *,
    config: Path | None = None,
    flags: Mapping[tuple[str, str], Any] | None = None,
) -> Settings:
    """Merge file, environment and flags (`{("listen", "tcp"): "127.0.0.1:4680"}`).

    Raises StartRefused, saying which key of which source is wrong. Without `config` the file is
    `$HOLDFAST_CONFIG` or `$XDG_CONFIG_HOME/holdfast/config.toml`, which need not exist.
    """
    path = config or _user_file(environment)
    named = config is not None or bool(environment.get("HOLDFAST_CONFIG"))
    merged = _from_file(path, required=named)
    for (section, key), value in [
        *_from_environment(environment).items(),
        *(flags or {}).items(),
    ]:
        merged.setdefault(section, {})[key] = value
    settings = _convert(merged, path)
    if settings.node.id is not None and not is_id(settings.node.id):
        raise StartRefused(f"node.id {settings.node.id!r}: letters, digits, _ and -, at most 64.")
    return settings


def _user_file(environment: Mapping[str, str]) -> Path:
    named = environment.get("HOLDFAST_CONFIG")
    if named:
        return Path(named).expanduser().absolute()
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "holdfast" / "config.toml"


def _from_file(path: Path, *, required: bool) -> dict[str, dict[str, Any]]:
    """Read and check the TOML file: a table of sections, each a table of known keys."""
    try:
        parsed = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        if required:
            raise StartRefused(f"There is no settings file {path}.") from error
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartRefused(f"The settings file {path} cannot be read: {error}.") from error
    for section, keys in parsed.items():
        if section not in Settings.__struct_fields__ or not isinstance(keys, dict):
            raise StartRefused(f"{path}: [{section}] is no section of settings; {_SEE}.")
        for key in keys:
            if key not in _keys(section):
                raise StartRefused(f"{path}: {section}.{key} is no setting; {_SEE}.")
    places = parsed.get("state", {})
    for key, place in places.items():
        if isinstance(place, str) and place:
            places[key] = str(path.absolute().parent / Path(place).expanduser())
    return parsed


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, str], Any]:
    """Pick `HOLDFAST_<SECTION>_<KEY>`; other names with that prefix belong to clients."""
    found: dict[tuple[str, str], Any] = {}
    for name, text in environment.items():
        if name in _SHORT:
            found[_SHORT[name]] = text
            continue
        prefix, _, rest = name.partition("_")
        section, _, key = rest.lower().partition("_")
        if prefix != "HOLDFAST" or not key or section not in Settings.__struct_fields__:
            continue
        if key not in _keys(section):
            raise StartRefused(f"The environment's {name} is no setting; {_SEE}.")
        found[(section, key)] = text.split(",") if key in _LISTS else text
    return found


def _keys(section: str) -> tuple[str, ...]:
    default: Struct = getattr(Settings(), section)
    return default.__struct_fields__


def _convert(merged: Mapping[str, Mapping[str, Any]], path: Path) -> Settings:
    try:
        return msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise StartRefused(
            f"The setting {where.rstrip('`')} is wrong: {message} (of {path}, HOLDFAST_* or flags)."
        ) from error

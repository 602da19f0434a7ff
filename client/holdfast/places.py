"""Where this user's own daemon keeps its things, by the same rules as the daemon's own settings.

Rules
- The environment wins over `[state]` of the user's settings file, and that over the default.
- Every path is absolute: `~` is the home, a relative path of the environment counts from the
  current directory, one of the settings file from that file's folder.
- Of the file only these two keys are read. What else is wrong with it, the daemon says.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

__all__ = ["absolute", "local_socket", "state_dir"]


def absolute(path: str | Path) -> Path:
    """Return the path from the root on, with `~` as the home."""
    return Path(path).expanduser().absolute()


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the state directory of this user's own daemon, whether or not it is there."""
    if state := environ.get("HOLDFAST_STATE_DIR") or _in_file("dir", environ):
        return absolute(state)
    return _base(environ, "XDG_STATE_HOME", ".local/state") / "holdfast"


def local_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of this user's own daemon's socket, whether or not it is there."""
    if runtime := environ.get("HOLDFAST_RUNTIME_DIR") or _in_file("runtime_dir", environ):
        return absolute(runtime) / "holdfast.sock"
    return state_dir(environ) / "run" / "holdfast.sock"


def _in_file(key: str, environ: Mapping[str, str]) -> str | None:
    """Return a key of `[state]` in the settings file, as a path from the root on."""
    if named := environ.get("HOLDFAST_CONFIG"):
        path = absolute(named)
    else:
        path = _base(environ, "XDG_CONFIG_HOME", ".config") / "holdfast" / "config.toml"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    import tomllib  # noqa: PLC0415  (most have no such file)

    try:
        value = tomllib.loads(text).get("state", {}).get(key)
    except (tomllib.TOMLDecodeError, AttributeError):
        return None
    return str(path.parent / Path(value).expanduser()) if isinstance(value, str) and value else None


def _base(environ: Mapping[str, str], name: str, below_home: str) -> Path:
    home = environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    return absolute(environ.get(name) or Path(home) / below_home)

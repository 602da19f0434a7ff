"""The environment of a child, built up from the machine's user to the session's own words.

Order, later wins: the user's own (HOME, USER, LOGNAME, SHELL, PATH, LANG, LC_*, TZ), `base_env`,
`env`, then what Holdfast says. Values never leave this way except into the child.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Mapping
from functools import cache

from supervisor.records import SessionRecord

__all__ = ["child_environment", "env_hash"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FOREIGN_USER_KEEPS = ("TERM", "LANG", "TZ")
TERMINAL = "xterm-256color"


def child_environment(record: SessionRecord, user: pwd.struct_passwd) -> dict[str, str]:
    """Return the whole environment of the record's next child.

    The daemon's own environment is as it was at its start.

    For a user other than the daemon's, `base_env` is cut to TERM, LANG, LC_* and TZ: the caller's
    own settings and secrets are not theirs.
    """
    own = user.pw_uid == os.geteuid()
    environment = dict(_of_user(user, own=own))
    base = record.base_env
    if not own:
        base = {key: value for key, value in base.items() if _harmless(key)}
    environment.update(base)
    environment.update(record.spec.env)
    environment["HOLDFAST_SESSION_ID"] = record.id
    environment["HOLDFAST_NODE"] = record.node
    if record.spec.tty and "TERM" not in record.spec.env:
        environment["TERM"] = record.base_env.get("TERM") or TERMINAL
    return environment


def env_hash(environment: Mapping[str, str]) -> str:
    """Return a short hash that tells whether two environments are equal.

    It is over all variables together: a value can be guessed by it only by who knows all others.
    """
    text = "\0".join(f"{key}={environment[key]}" for key in sorted(environment))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


@cache
def _of_user(user: pwd.struct_passwd, *, own: bool) -> dict[str, str]:
    found = os.environ if own else {}
    environment = {
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell or "/bin/sh",
        "PATH": found.get("PATH", PATH),
    }
    locale = {key: value for key, value in os.environ.items() if _harmless(key) and key != "TERM"}
    return environment | locale


def _harmless(key: str) -> bool:
    return key in FOREIGN_USER_KEEPS or key.startswith("LC_")

"""An output that cannot be written is one line and an exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOLD = [sys.executable, "-m", "holdfast.cli"]


@pytest.mark.parametrize(
    ("redirection", "exit_code", "said"),
    [
        (">/dev/full", 1, b"hold: cannot write: No space left on device\n"),
        (">&-", 0, b""),
        (">&- 2>&-", 0, b""),
    ],
)
def test_an_output_that_takes_nothing(redirection: str, exit_code: int, said: bytes) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" --help {redirection}', "sh", *HOLD], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (exit_code, said)

"""The checks in tests/conftest.py, run on tests that do leave something behind."""

from __future__ import annotations

import pytest


def outcome_of(pytester: pytest.Pytester, body: str) -> pytest.RunResult:
    """Run one test file with the project's conftest as a plugin, in a process of its own."""
    pytester.makepyfile(body)
    return pytester.runpytest_subprocess("-p", "tests.conftest", "-o", "asyncio_mode=auto")


def test_a_test_that_leaves_nothing_passes(pytester: pytest.Pytester) -> None:
    result = outcome_of(
        pytester,
        """
        import asyncio, os, subprocess, threading
        async def test_tidy():
            await asyncio.create_task(asyncio.to_thread(subprocess.run, ["true"]))
            os.close(os.open("/dev/null", os.O_RDONLY))
        """,
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param(
            """
            import os
            def test_leak():
                assert os.posix_spawn("/bin/true", ["left-child"], {})
            """,
            "*left behind: child *",
            id="child",
        ),
        pytest.param(
            """
            import os
            def test_leak():
                os.open("/dev/null", os.O_RDONLY)
            """,
            "*left behind: descriptor * -> /dev/null*",
            id="descriptor",
        ),
        pytest.param(
            """
            import asyncio
            async def test_leak():
                global held
                held = asyncio.create_task(asyncio.Event().wait(), name="waits-for-ever")
            """,
            "*left behind: task waits-for-ever in *",
            id="task",
        ),
        pytest.param(
            """
            import threading
            from tests import leaks
            def test_leak(monkeypatch):
                leaks.PATIENCE_S = 0.01
                global release
                release = threading.Event()
                threading.Thread(target=release.wait, name="pumps-on", daemon=True).start()
            """,
            "*left behind: thread pumps-on*",
            id="thread",
        ),
        pytest.param(
            """
            import subprocess
            from tests import leaks
            def test_leak(tmp_path):
                leaks.PATIENCE_S = 0.01
                # The shell ends at once; what it started ends with this pytest, its grandparent.
                script = 'HOME=$0 tail -f /dev/null -s 0.05 --pid $PPID >/dev/null 2>&1 &'
                subprocess.run(["sh", "-c", script, tmp_path], check=True)
            """,
            "*left behind: process * tail -f /dev/null *",
            id="daemon",
        ),
    ],
)
def test_what_a_test_leaves_behind_is_named(
    pytester: pytest.Pytester, body: str, named: str
) -> None:
    result = outcome_of(pytester, body)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([named])

from __future__ import annotations

import subprocess
import sys

import holdfast

HEAVY = ("asyncio", "msgspec", "httpx", "websockets", "click", "rich")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, holdfast; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_connecting_imports_neither_library_of_the_network() -> None:
    code = (
        "import sys, holdfast; holdfast.connect('unix:///none');"
        f"print([m for m in {HEAVY[2:]!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(holdfast, name) for name in holdfast.__all__)

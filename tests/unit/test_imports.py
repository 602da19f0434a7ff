"""Layers that import-linter cannot state: it knows modules by name, not the standard library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEEPER = ROOT / "supervisor/keeper"


def imports(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every absolute import under a folder, as (file, dotted name of what is imported)."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def strangers(folder: Path, known: set[str]) -> list[str]:
    """Imports of neither the standard library nor `known` (dotted names and all below them)."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in imports(folder)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(f"{name}.".startswith(f"{prefix}.") for prefix in known)
    ]


def test_supervisor_imports_only_itself_msgspec_and_the_standard_library() -> None:
    own_names = {path.stem for path in KEEPER.glob("*.py")}  # the keeper runs as a folder
    assert strangers(ROOT / "supervisor", {"supervisor", "msgspec"} | own_names) == []


def test_the_keeper_imports_only_its_own_folder_and_the_standard_library() -> None:
    own_names = {path.stem for path in KEEPER.glob("*.py")}
    assert strangers(KEEPER, {"supervisor.keeper"} | own_names) == []


def test_of_the_client_the_daemon_imports_only_the_wire_types() -> None:
    of_client = [name for _, name in imports(ROOT / "api") if name.startswith("holdfast")]
    assert [name for name in of_client if not f"{name}.".startswith("holdfast.wire.")] == []


@pytest.mark.parametrize("name", ["re2", "aiosqlite", "supervisor_of_somebody_else"])
def test_a_stranger_is_found(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "actor.py").write_text(f"import os, supervisor.actor\nfrom {name}.x import y\n")
    assert strangers(tmp_path, {"supervisor"}) == [f"actor.py imports {name}.x.y"]

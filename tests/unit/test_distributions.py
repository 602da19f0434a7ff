"""The two distributions, the exact versions and the page that explains them agree."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
OURS = {"holdfast", "holdfast-server"}
IMPORTED_AS = {"google-re2": "re2"}


def project(path: str) -> dict[str, Any]:
    """The [project] table of one pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / path).read_text())["project"]
    return table


SERVER = project("pyproject.toml")
CLIENT = project("client/pyproject.toml")


def requirements(*tables: dict[str, Any]) -> list[Requirement]:
    """All requirements, optional ones too, of others' distributions."""
    lines = [line for table in tables for line in table["dependencies"]]
    lines += [
        line
        for table in tables
        for extra in table["optional-dependencies"].values()
        for line in extra
    ]
    return [wanted for wanted in map(Requirement, lines) if wanted.name not in OURS]


def exact_versions() -> dict[str, Version]:
    """The pins of constraints.txt; each line is `name==version` or a comment."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    pins = [line.split("==") for line in lines]
    assert all(len(pin) == 2 for pin in pins), lines
    return {canonicalize_name(name): Version(version) for name, version in pins}


def test_both_distributions_have_the_same_version_and_ask_for_it_of_each_other() -> None:
    assert SERVER["version"] == CLIENT["version"]
    assert f"holdfast=={CLIENT['version']}" in SERVER["dependencies"]
    assert CLIENT["optional-dependencies"]["server"] == [f"holdfast-server=={SERVER['version']}"]


@pytest.mark.parametrize("wanted", requirements(SERVER, CLIENT), ids=str)
def test_every_dependency_has_one_exact_version_in_its_range(wanted: Requirement) -> None:
    assert exact_versions()[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("wanted", requirements(SERVER, CLIENT), ids=str)
def test_every_dependency_has_a_line_that_says_why(wanted: Requirement) -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    assert re.search(rf"^\| {re.escape(wanted.name)} \| .+ \| .+ \|$", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("table", "folders"),
    [(CLIENT, ("client/holdfast",)), (SERVER, ("api", "store", "supervisor"))],
    ids=["client", "server"],
)
def test_every_dependency_of_users_is_imported(
    table: dict[str, Any], folders: tuple[str, ...]
) -> None:
    imported = {name for folder in folders for name in imports(ROOT / folder)}
    wanted = {Requirement(line).name for line in table["dependencies"]}
    modules = {name: IMPORTED_AS.get(name, name.replace("-", "_")) for name in wanted}
    assert [name for name, module in modules.items() if module not in imported] == []


def imports(folder: Path) -> Iterator[str]:
    """The first part of every import under a folder, as written."""
    for path in folder.rglob("*.py"):
        for found in re.finditer(r"^ *(?:import|from) (\w+)", path.read_text(), re.MULTILINE):
            yield found[1]


def test_no_file_of_versions_holds_an_address() -> None:
    for name in ("constraints.txt", "pyproject.toml", "client/pyproject.toml"):
        assert "://" not in (ROOT / name).read_text(), name

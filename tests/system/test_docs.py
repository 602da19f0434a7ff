"""The examples of README and docs run as they stand there, and what the pages name exists.

Rules
- A block marked `console` is a shell session: each line that begins with `$ ` runs, and has to
  print what follows it, stderr included. `...` stands for anything. A block that ends its command
  with `; echo $?` shows its exit code; any other command has to succeed.
- A block marked `python` is a program that has to succeed.
- All blocks of one page talk to one daemon of its own, in one folder.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import NewDaemon

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "client/README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PATIENCE_S = 30.0


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output it has to have."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def agrees(expected: str, output: str) -> bool:
    """Whether the output is the expected one; `...` and blanks around it stand for anything."""
    words = [re.escape(word) for word in re.split(r"\s*\.\.\.\s*", expected.strip())]
    return re.fullmatch(".*".join(words), output.strip(), re.DOTALL) is not None


def run(argv: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """Run to the end; exit code and all output."""
    done = subprocess.run(
        argv,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout.decode()


RUNNABLE = [
    page for page in PAGES if {"console", "python"} & {language for language, _ in blocks(page)}
]


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_examples_of_a_page_do_what_it_says(
    page: Path, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    daemon = new_daemon()
    ours = str(Path(sys.executable).parent)
    environment = {**daemon.environment, "PATH": f"{ours}:{daemon.environment['PATH']}"}
    for language, block in blocks(page):
        if language == "python":
            code, output = run([sys.executable, "-c", block], environment, tmp_path)
            assert code == 0, output
        elif language == "console":
            for command, expected in commands(block):
                code, output = run(["bash", "-c", command], environment, tmp_path)
                assert agrees(expected, output), f"$ {command}\n{output}"
                assert code == 0, f"$ {command}\n{output}"


def test_the_readme_and_operations_have_examples() -> None:
    assert {"README.md", "docs/operations.md"} <= {name_of(page) for page in RUNNABLE}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    for path, name in TEST.findall(page.read_text(encoding="utf-8")):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        defined = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in defined, f"{path}::{name}"


def test_a_wrong_example_is_seen() -> None:
    assert agrees("NAME ... STATE\na ... running ...", "NAME  ID  STATE\na  x1  running  sh\n")
    assert not agrees("143", "0\n")
    assert not agrees("", "something\n")
    assert list(commands("$ a b\nx\ny\n$ c\n")) == [("a b", "x\ny\n"), ("c", "")]

"""The search along PATH has the errors of execvpe(3)."""

from __future__ import annotations

import errno

import pytest

from supervisor.keeper.child import _along_path


def search(program: bytes, found: dict[bytes, int], path: bytes | None = b"/a:/b:") -> bytes:
    """Look for `program` where each path fails with its errno in `found`; 0 is success."""

    def run(path: bytes) -> bytes:
        number = found.get(path, errno.ENOENT)
        if number:
            raise OSError(number, "")
        return path

    return _along_path(program, {} if path is None else {b"PATH": path}, run)


def test_the_first_that_runs_is_taken() -> None:
    assert search(b"x", {b"/a/x": 0, b"/b/x": 0}) == b"/a/x"
    assert search(b"x", {b"/b/x": 0}) == b"/b/x"


def test_an_empty_entry_is_the_current_directory() -> None:
    assert search(b"x", {b"x": 0}) == b"x"


def test_a_name_with_a_slash_is_not_searched() -> None:
    assert search(b"./x", {b"./x": 0}) == b"./x"
    with pytest.raises(FileNotFoundError):
        search(b"./x", {b"/a/./x": 0})


def test_without_path_the_system_default_is_searched() -> None:
    assert search(b"x", {b"/bin/x": 0}, None) == b"/bin/x"


def test_denied_is_remembered_while_the_search_goes_on() -> None:
    assert search(b"x", {b"/a/x": errno.EACCES, b"/b/x": 0}) == b"/b/x"
    with pytest.raises(PermissionError):
        search(b"x", {b"/a/x": errno.EACCES})


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.ESTALE, errno.ENODEV])
def test_what_is_not_there_is_passed_over(number: int) -> None:
    assert search(b"x", {b"/a/x": number, b"/b/x": 0}) == b"/b/x"


@pytest.mark.parametrize("number", [errno.ENOEXEC, errno.E2BIG, errno.ETXTBSY])
def test_any_other_error_ends_the_search(number: int) -> None:
    with pytest.raises(OSError, match=str(number)) as failed:
        search(b"x", {b"/a/x": number, b"/b/x": 0})
    assert failed.value.errno == number


def test_an_empty_name_is_found_nowhere() -> None:
    with pytest.raises(FileNotFoundError):
        search(b"", {b"": 0})

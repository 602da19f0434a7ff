"""What a child gets, and what is said when it cannot be started."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from supervisor.keeper.client import SpawnFailed, SpawnRequest
from tests.component.keeper.post import ENV, Post, read_lines, read_to_end


async def test_a_spawn_asked_for_twice_starts_one_child(post: Post) -> None:
    first = await post.sh("once", "echo started; exec sleep 1000")
    again = await post.sh("once", "echo started; exec sleep 1000")
    assert again.pid == first.pid
    assert again.started_at_ns == first.started_at_ns
    assert again.stdout != first.stdout
    assert await read_lines(again.stdout, 1) == ["started"]
    await first.containment.kill()
    assert await read_to_end(first.stdout) == b""


async def test_the_next_generation_is_another_child(post: Post) -> None:
    first = await post.ask(SpawnRequest("s", 1, ("sleep", "1000"), ENV, "/"))
    second = await post.ask(SpawnRequest("s", 2, ("sleep", "1000"), ENV, "/"))
    assert first.pid != second.pid


def status_of(text: str) -> dict[str, str]:
    """/proc/PID/status as a table."""
    return {k: v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("user", [{}, {"uid": 65534, "gid": 65534, "groups": (7, 8)}])
async def test_a_child_starts_with_clean_signals_limits_and_groups(
    post: Post, user: dict[str, object], *, tty: bool
) -> None:
    held = await post.spawn("clean", "cat", "/proc/self/status", tty=tty, **user)
    status = status_of((await read_to_end(held.master or held.stdout)).decode())
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigCgt"], 16) == 0
    # glibc keeps 32 and 33 for itself and may show them as ignored
    assert int(status["SigIgn"], 16) & ~(3 << 31) == 0
    assert status["Umask"] == "0022"
    assert status["NSsid"] == status["NSpgid"] == status["Pid"] == str(held.pid)
    if user:
        assert status["Uid"].split() == ["65534"] * 4
        assert status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].split() == ["7", "8"]
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    else:
        assert status["Uid"].split() == [str(os.getuid())] * 4


@pytest.mark.parametrize("tty", [False, True])
async def test_a_child_has_descriptors_0_1_2_and_no_other(post: Post, *, tty: bool) -> None:
    await post.sh("neighbour", "sleep 1000", stdin="pipe")
    held = await post.spawn("fds", "ls", "/proc/self/fd", tty=tty)
    names = (await read_to_end(held.master or held.stdout)).split()
    assert names == [b"0", b"1", b"2", b"3"]  # 3 is the folder that ls reads


async def test_a_child_gets_the_soft_limit_the_keeper_was_started_with(post: Post) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = await post.sh("limit", "ulimit -Sn; ulimit -Hn")
    assert await read_lines(held.stdout, 2) == [str(soft), str(hard)]
    assert resource.prlimit(post.client.pid, resource.RLIMIT_NOFILE) == (hard, hard)


async def test_a_pty_is_the_controlling_terminal_and_has_its_size_from_the_start(
    post: Post,
) -> None:
    held = await post.sh(
        "tty", "stty size; echo here > /dev/tty; ps -o tpgid= -p $$", tty=True, rows=41, cols=133
    )
    assert held.stdout is held.stderr is held.stdin is None
    said = (await read_to_end(held.master)).split()
    assert said == [b"41", b"133", b"here", str(held.pid).encode()]


async def test_combined_stderr_keeps_the_order_of_the_writer(post: Post) -> None:
    held = await post.sh("both", "echo 1; echo 2 >&2; echo 3; echo 4 >&2", stderr="combined")
    assert held.stderr is None
    assert await read_to_end(held.stdout) == b"1\n2\n3\n4\n"


async def test_ignored_streams_go_nowhere(post: Post) -> None:
    held = await post.sh("quiet", "echo 1; echo 2 >&2", stdout="ignore", stderr="ignore")
    assert held.stdout is held.stderr is None
    assert await post.exit_of("quiet") == 0


async def test_closing_the_input_gives_the_child_its_end(post: Post) -> None:
    held = await post.spawn("cat", "cat", stdin="pipe")
    assert held.stdin is not None
    os.write(held.stdin, b"all of it")
    os.close(held.stdin)
    held.stdin = None
    await post.client.close_input("cat", 1)
    assert await read_to_end(held.stdout) == b"all of it"
    assert await post.exit_of("cat") == 0


async def test_the_input_journal_and_its_position_are_shared_with_the_next_daemon(
    post: Post,
) -> None:
    held = await post.spawn("journal", "cat", stdin="pipe")
    assert held.journal is not None
    os.pwrite(held.journal, b"accepted", 0)
    os.lseek(held.journal, 3, os.SEEK_SET)
    (listed,) = await post.children()
    assert listed.journal is not None
    assert os.lseek(listed.journal, 0, os.SEEK_CUR) == 3
    assert os.pread(listed.journal, 100, 0) == b"accepted"
    fresh = await post.client.new_journal("journal", 1, 8)
    assert os.fstat(fresh).st_size == os.lseek(fresh, 0, os.SEEK_CUR) == 8
    os.pwrite(fresh, b"new", 8)
    os.close(fresh)
    (listed,) = await post.children()
    assert listed.journal is not None
    assert os.pread(listed.journal, 100, 8) == b"new"


async def test_the_input_of_a_later_generation_goes_on_at_its_offset(post: Post) -> None:
    held = await post.spawn("goes-on", "cat", stdin="pipe", input_offset=1 << 40)
    assert held.journal is not None
    assert os.fstat(held.journal).st_size == os.lseek(held.journal, 0, os.SEEK_CUR) == 1 << 40


async def test_long_and_strange_arguments_and_environment_arrive_byte_for_byte(
    post: Post,
) -> None:
    strange = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    long = tuple(letter * 100_000 for letter in "abc")
    env = {**ENV, "STRANGE": strange, "a.b": "dotted", "LONG": "d" * 100_000}
    held = await post.spawn("long", "printf", "%s", strange, *long)
    expected = bytes(range(1, 256)) + "".join(long).encode()
    assert await read_to_end(held.stdout) == expected
    held = await post.spawn("env", "env", "-0", env=env)
    found = set((await read_to_end(held.stdout)).split(b"\0"))
    wanted = {f"{k}={v}".encode("utf-8", "surrogateescape") for k, v in env.items()}
    assert found == wanted | {b""}


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 33", 33 << 8), ("kill -9 $$", 9), ("kill -SEGV $$", signal.SIGSEGV)],
)
async def test_the_exit_status_is_the_kernels(post: Post, script: str, status: int) -> None:
    held = await post.sh("ends", script)
    assert await post.exit_of("ends") & 0x7F7F == status & 0x7F7F
    (listed,) = await post.children()
    assert listed.status is not None
    assert os.waitstatus_to_exitcode(listed.status) == os.waitstatus_to_exitcode(status)
    assert listed.pid == held.pid


@pytest.mark.parametrize("user", [{}, {"uid": 0, "gid": 0, "groups": (0,)}])
@pytest.mark.parametrize(
    ("argv", "fields", "number", "stage"),
    [
        (["no-such-program"], {}, errno.ENOENT, "exec"),
        (["/no/such/program"], {}, errno.ENOENT, "exec"),
        ([""], {}, errno.ENOENT, "exec"),
        ([], {}, errno.EINVAL, "exec"),
        (["{room}/plain"], {}, errno.EACCES, "exec"),
        (["{room}"], {}, errno.EACCES, "exec"),
        (["{room}/text"], {}, errno.ENOEXEC, "exec"),
        (["{room}/orphan"], {}, errno.ENOENT, "exec"),
        (["{room}/plain/x"], {}, errno.ENOTDIR, "exec"),
        (["plain"], {"env": {"PATH": "/bin:{room}:/usr/bin"}}, errno.EACCES, "exec"),
        (["true", "a\0b"], {}, errno.EINVAL, "exec"),
        (["true"], {"env": {**ENV, "a=b": "c"}}, errno.EINVAL, "exec"),
        (["true", "x" * 3_000_000], {}, errno.E2BIG, "exec"),
        (["true"], {"cwd": "{room}/nowhere"}, errno.ENOENT, "cwd"),
        (["true"], {"cwd": "{room}/plain"}, errno.ENOTDIR, "cwd"),
    ],
)
async def test_a_failed_spawn_has_its_errno_and_stage_and_leaves_nothing(
    post: Post,
    tmp_path: Path,
    argv: list[str],
    fields: dict[str, object],
    number: int,
    stage: str,
    user: dict[str, object],
) -> None:
    (tmp_path / "plain").write_text("not executable")
    for name, text in {"text": "neither ELF nor #!", "orphan": "#!/no/such/interpreter\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def there(value: object) -> object:
        if isinstance(value, dict):
            return {k: there(v) for k, v in value.items()}
        return value.replace("{room}", str(tmp_path)) if isinstance(value, str) else value

    words = [str(there(word)) for word in argv]
    given = {name: there(value) for name, value in fields.items()}
    with pytest.raises(SpawnFailed) as failed:
        await post.spawn("fails", *words, **given, **user)
    assert (failed.value.errno, failed.value.stage) == (number, stage)
    assert await post.children() == []
    held = await post.sh("fails", "exit 3")  # the same session may be asked for again
    assert await post.exit_of("fails") == 3 << 8
    assert held.generation == 1


async def test_a_name_found_but_not_executable_does_not_end_the_search(
    post: Post, tmp_path: Path
) -> None:
    (tmp_path / "true").write_text("not executable")
    await post.spawn("search", "true", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert await post.exit_of("search") == 0


async def test_a_relative_program_is_looked_for_in_the_childs_directory(
    post: Post, tmp_path: Path
) -> None:
    (tmp_path / "here").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "here").chmod(0o755)
    held = await post.spawn("relative", "./here", cwd=str(tmp_path))
    assert await read_to_end(held.stdout) == f"{tmp_path}\n".encode()


async def test_a_user_who_may_not_enter_the_directory_gets_no_child(
    post: Post, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SpawnFailed) as failed:
        await post.spawn("user", "true", cwd=str(closed), uid=65534, gid=65534, groups=())
    assert (failed.value.errno, failed.value.stage) == (errno.EACCES, "cwd")


async def test_a_pty_belongs_to_the_user_of_its_child(post: Post) -> None:
    held = await post.sh("tty", "stat -c %u $(tty)", tty=True, uid=65534, gid=65534, groups=())
    assert (await read_to_end(held.master)).split() == [b"65534"]

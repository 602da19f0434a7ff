"""The pump over real pipes and terminals: what it moves, what it says, when it waits."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from supervisor.output import (
    Advanced,
    AllEnded,
    Delivered,
    Discarding,
    Dropped,
    InputBroken,
    InputEnded,
    LogReader,
    NodeFilling,
    Resumed,
    Stalled,
    Stream,
    StreamEnded,
    TapRemoved,
)
from supervisor.output import log as log_module
from supervisor.output.tap import Tap
from tests.component.output.rig import CAPACITY, Rig

KIB = 1024


def watched(rig: Rig, fd: int) -> bool:
    """Whether the pump's epoll set holds `fd` (proc_pid_fdinfo(5))."""
    epoll = rig.pump._epoll.fileno()
    lines = Path(f"/proc/self/fdinfo/{epoll}").read_text().splitlines()
    return any(line.split()[1] == str(fd) for line in lines if line.startswith("tfd:"))


def fill(fd: int, count: int) -> None:
    """Write `count` bytes, waiting for the pump as a child does."""
    piece = b"x" * 16 * KIB
    while count > 0:
        count -= os.write(fd, piece[: min(count, len(piece))])


def test_both_streams_are_logged_in_the_order_in_which_they_came(rig: Rig) -> None:
    out, child_out = rig.pipe()
    err, child_err = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out, stderr=err))
    os.write(child_out, b"one ")
    rig.wait_next(4)
    os.write(child_err, b"two ")
    rig.wait_next(8)
    rig.drop(child_out)
    assert rig.wait(StreamEnded).stream == Stream.STDOUT
    rig.drop(child_err)
    rig.wait(AllEnded)
    reader = LogReader(rig.folder / "s")
    assert [(s.stream, s.data) for s in reader.spans(0, 100)] == [(1, b"one "), (2, b"two ")]
    reader.close()


def test_a_silent_child_leaves_no_file(rig: Rig) -> None:
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out))
    rig.drop(child)
    rig.wait(AllEnded)
    assert not (rig.folder / "s").exists()


def test_a_session_without_outputs_has_ended_at_once(rig: Rig) -> None:
    rig.add(Tap("s", rig.log()))
    assert rig.wait(AllEnded).key == "s"


def test_the_last_bytes_are_announced_before_the_end(rig: Rig) -> None:
    out, child = rig.pipe()
    os.write(child, b"last words")
    rig.drop(child)
    rig.add(Tap("s", rig.log(), stdout=out))
    rig.wait(AllEnded)
    assert [type(event) for event in rig.seen] == [Advanced, StreamEnded, AllEnded]


def test_what_the_ring_drops_is_announced_with_exact_bounds(rig: Rig) -> None:
    out, child = rig.pipe()
    tap = rig.add(Tap("s", rig.log(), stdout=out))
    fill(child, 3 * CAPACITY)
    rig.drop(child)
    rig.wait(AllEnded)
    gaps = [event for event in rig.seen if isinstance(event, Dropped)]
    assert gaps[0].from_ == 0
    assert gaps[-1].to == tap.log.oldest > 0
    assert all(a.to == b.from_ for a, b in pairwise(gaps))
    assert len(rig.read()) == 3 * CAPACITY - tap.log.oldest


def test_with_block_the_pump_stops_a_capacity_behind_its_reader(rig: Rig) -> None:
    out, child = rig.pipe()
    tap = rig.add(Tap("s", rig.log(), stdout=out, on_full="block"))
    fill(child, CAPACITY)
    rig.wait_next(CAPACITY)
    os.write(child, b"more")
    assert rig.wait(Stalled).why == "reader"
    assert tap.log.next == CAPACITY
    assert not watched(rig, out)  # or a hang-up would spin
    rig.pump.taken("s", 3)
    rig.wait_next(CAPACITY + 3)
    assert any(isinstance(event, Resumed) for event in rig.seen)
    assert rig.wait(Stalled).why == "reader"
    rig.pump.taken("s", CAPACITY)
    rig.wait_next(CAPACITY + 4)
    assert not any(isinstance(event, Dropped) for event in rig.seen)


def test_the_end_is_seen_though_the_ring_is_full(rig: Rig) -> None:
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out, on_full="block"))
    fill(child, CAPACITY)
    rig.wait_next(CAPACITY)
    rig.drop(child)
    rig.wait(AllEnded)


def test_turning_to_drop_lets_a_blocked_session_go_on(rig: Rig) -> None:
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out, on_full="block"))
    fill(child, CAPACITY + 10)
    rig.wait(Stalled)
    rig.pump.set_on_full("s", "drop")
    rig.wait_next(CAPACITY + 10)


def test_one_blocked_session_does_not_stop_its_neighbour(rig: Rig) -> None:
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out, on_full="block"))
    fill(child, CAPACITY + 10)
    rig.wait(Stalled)
    other, other_child = rig.pipe()
    rig.add(Tap("t", rig.log("t"), stdout=other))
    os.write(other_child, b"hello")
    while rig.wait(Advanced).key != "t":
        pass
    assert rig.read("t") == b"hello"


def test_a_terminal_ends_with_eio_and_cuts_its_input(rig: Rig) -> None:
    master, slave = rig.terminal()
    journal = os.memfd_create("journal")
    tap = Tap(
        "s",
        rig.log(),
        master=master,
        relay=os.pipe(),
        input_relay=os.pipe(),
        journal=journal,
    )
    rig.add(tap)
    os.write(slave, b"prompt> ")
    rig.wait_next(8)
    os.pwrite(journal, b"keys", 0)
    rig.pump.deliver("s")
    assert rig.wait(Delivered).offset == 4
    assert os.read(slave, 100) == b"keys"
    rig.drop(slave)
    assert rig.wait(InputBroken).offset == 4
    rig.wait(AllEnded)
    assert rig.read() == b"prompt> "


def test_step_10_bytes_in_the_relay_come_before_those_in_the_terminal(rig: Rig) -> None:
    master, slave = rig.terminal()
    relay = os.pipe()
    os.write(relay[1], b"first, ")
    os.write(slave, b"second")
    rig.add(Tap("s", rig.log(), master=master, relay=relay))
    rig.wait_next(13)
    assert rig.read() == b"first, second"


def test_a_blocked_terminal_goes_on_with_what_is_in_the_relay(rig: Rig) -> None:
    master, slave = rig.terminal()
    rig.add(Tap("s", rig.log(), master=master, relay=os.pipe(), on_full="block"))
    fill(slave, CAPACITY - 10)
    rig.wait_next(CAPACITY - 10)
    os.write(slave, b"0123456789abcdef")
    rig.wait(Stalled)
    rig.pump.taken("s", 6)
    rig.wait_next(CAPACITY + 6)
    assert rig.read()[-16:] == b"0123456789abcdef"


def test_input_waits_for_a_child_that_does_not_read(rig: Rig) -> None:
    stdin, child = rig.stdin()
    journal = os.memfd_create("journal")
    rig.add(Tap("s", rig.log(), stdin=stdin, journal=journal))
    os.pwrite(journal, b"x" * 200_000, 0)
    rig.pump.deliver("s")
    rig.pump.end_input("s")
    first = rig.wait(Delivered).offset
    assert first < 200_000
    got = 0
    while piece := os.read(child, 65_536):
        got += len(piece)
    assert got == 200_000
    rig.wait(InputEnded)


def test_a_child_that_closed_its_stdin_breaks_the_input(rig: Rig) -> None:
    stdin, child = rig.stdin()
    journal = os.memfd_create("journal")
    rig.add(Tap("s", rig.log(), stdin=stdin, journal=journal))
    rig.drop(child)
    os.pwrite(journal, b"too late", 0)
    rig.pump.deliver("s")
    assert rig.wait(InputBroken).offset == 0


def test_a_replaced_journal_goes_on_at_its_offset(rig: Rig) -> None:
    stdin, child = rig.stdin()
    journal = os.memfd_create("journal")
    os.pwrite(journal, b"before ", 0)
    rig.add(Tap("s", rig.log(), stdin=stdin, journal=journal))
    assert rig.wait(Delivered).offset == 7
    fresh = os.memfd_create("journal")
    os.lseek(fresh, 7, os.SEEK_SET)
    os.pwrite(fresh, b"after", 7)
    rig.pump.replace_journal("s", fresh)
    assert rig.wait(Delivered).offset == 12
    assert os.read(child, 100) == b"before after"


def test_ending_input_that_never_was_is_answered(rig: Rig) -> None:
    rig.add(Tap("s", rig.log()))
    rig.pump.end_input("s")
    assert rig.wait(InputEnded).key == "s"


def test_discarded_output_is_read_and_kept_nowhere(rig: Rig) -> None:
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out))
    os.write(child, b"kept")
    rig.wait_next(4)
    rig.pump.discard("s")
    rig.wait(Discarding)
    fill(child, 300_000)
    rig.drop(child)
    rig.wait(AllEnded)
    assert rig.read() == b"kept"


def test_removing_closes_everything_and_says_so_last(rig: Rig) -> None:
    out, _ = rig.pipe()
    stdin, _ = rig.stdin()
    journal = os.memfd_create("journal")
    tap = rig.add(Tap("s", rig.log(), stdout=out, stdin=stdin, journal=journal))
    rig.pump.remove("s")
    assert rig.wait(TapRemoved).key == "s"
    for fd in (out, stdin, journal):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
    child_out, child = rig.pipe()
    rig.add(Tap("s", tap.log, stdout=child_out))  # the next generation, same log
    os.write(child, b"again")
    rig.wait_next(5)


def test_a_refused_write_is_retried_and_loses_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out))
    os.write(child, b"before ")
    rig.wait_next(7)

    def splice(*_args: Any, **_kwargs: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(log_module, "_splice", splice)
    os.write(child, b"after")
    assert rig.wait(Stalled).why == "disk"
    monkeypatch.undo()
    rig.wait(Resumed)
    rig.wait_next(12)
    assert rig.read() == b"before after"


def test_a_full_node_stalls_until_a_log_is_forgotten(rig: Rig) -> None:
    rig.space.node_bytes = 1 << 20
    rig.space.hold("finished", 2 << 20)
    rig.space.look()
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out))
    os.write(child, b"a")
    rig.wait(NodeFilling)
    os.write(child, b"b")
    assert rig.wait(Stalled).why == "node_full"
    rig.space.forget("finished")
    rig.wait(Resumed)
    rig.wait_next(2)


def test_a_thousand_idle_sessions_do_not_disturb_one(rig: Rig) -> None:
    for number in range(1000):
        out, _ = rig.pipe()
        rig.add(Tap(f"idle-{number}", rig.log(f"idle-{number}"), stdout=out))
    out, child = rig.pipe()
    rig.add(Tap("s", rig.log(), stdout=out))
    os.write(child, b"hello")
    rig.wait_next(5)
    assert list(rig.folder.iterdir()) == [rig.folder / "s"]

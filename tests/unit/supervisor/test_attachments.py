from __future__ import annotations

import pytest

from supervisor.attachments import (
    Attach,
    Attached,
    Attachments,
    Notice,
    Replaced,
    Role,
    RoleChanged,
)
from supervisor.errors import Conflict
from supervisor.records import By


class Told:
    """Remembers what one connection was told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def __call__(self, notice: Notice) -> None:
        self.notices.append(notice)


def come(
    registry: Attachments,
    client: str,
    role: Role | None = None,
    *,
    takeover: bool = False,
    lossless: bool = False,
) -> tuple[Attached, Told]:
    told = Told()
    request = Attach(
        client=client, by=By(), at_us=1, role=role, takeover=takeover, lossless=lossless
    )
    return registry.attach(request, told), told


def test_the_first_without_a_wish_writes_and_the_next_looks_on() -> None:
    registry = Attachments()
    assert come(registry, "a")[0].role is Role.WRITER
    assert come(registry, "b")[0].role is Role.OBSERVER


def test_an_observer_does_not_hold_the_writers_place() -> None:
    registry = Attachments()
    come(registry, "a", Role.OBSERVER)
    assert come(registry, "b")[0].role is Role.WRITER


def test_a_wish_to_write_is_refused_while_another_does_and_changes_nothing() -> None:
    registry = Attachments()
    _, told = come(registry, "a")
    with pytest.raises(Conflict) as refused:
        come(registry, "b", Role.WRITER)
    assert refused.value.details["client"] == "a"
    assert [one.client for one in registry] == ["a"]
    assert told.notices == []


def test_a_takeover_makes_the_former_writer_an_observer() -> None:
    registry = Attachments()
    former, told = come(registry, "a")
    writer, _ = come(registry, "b", Role.WRITER, takeover=True)
    assert (former.role, writer.role) == (Role.OBSERVER, Role.WRITER)
    assert told.notices == [RoleChanged(Role.OBSERVER, "b")]
    assert registry.writer is writer


def test_a_takeover_without_a_named_role_means_the_writers() -> None:
    registry = Attachments()
    come(registry, "a")
    assert come(registry, "b", takeover=True)[0].role is Role.WRITER


def test_an_observer_with_takeover_takes_nothing() -> None:
    registry = Attachments()
    former, told = come(registry, "a")
    come(registry, "b", Role.OBSERVER, takeover=True)
    assert former.role is Role.WRITER
    assert told.notices == []


@pytest.mark.parametrize("role", [None, Role.WRITER])
def test_the_same_client_replaces_its_connection_and_stays_the_writer(role: Role | None) -> None:
    registry = Attachments()
    _, told = come(registry, "a")
    again, _ = come(registry, "a", role)
    assert again.role is Role.WRITER
    assert told.notices == [Replaced()]
    assert list(registry) == [again]


def test_a_replaced_connection_that_detaches_does_not_remove_its_successor() -> None:
    registry = Attachments()
    former, _ = come(registry, "a")
    again, _ = come(registry, "a")
    registry.detach(former)
    assert list(registry) == [again]


def test_a_client_that_comes_back_while_another_writes_looks_on() -> None:
    registry = Attachments()
    come(registry, "a")
    come(registry, "b", Role.WRITER, takeover=True)
    assert come(registry, "a")[0].role is Role.OBSERVER


def test_nobody_is_promoted_when_the_writer_leaves() -> None:
    registry = Attachments()
    writer, _ = come(registry, "a")
    observer, told = come(registry, "b")
    registry.detach(writer)
    registry.detach(writer)
    assert (registry.writer, observer.role, told.notices) == (None, Role.OBSERVER, [])
    assert come(registry, "c")[0].role is Role.WRITER


def test_what_was_taken_is_the_highest_acknowledgement_of_the_lossless() -> None:
    registry = Attachments()
    slow, _ = come(registry, "a", lossless=True)
    fast, _ = come(registry, "b", lossless=True)
    assert registry.ack(slow, 10) == 10
    assert registry.ack(fast, 30) == 30
    assert registry.ack(slow, 20) is None
    assert registry.ack(fast, 30) is None
    assert registry.ack(slow, 31) == 31


def test_others_acknowledge_without_effect() -> None:
    registry = Attachments()
    looking, _ = come(registry, "a")
    assert registry.ack(looking, 10) is None
    assert looking.acked == 10
    assert not registry.lossless


def test_an_acknowledgement_never_goes_back() -> None:
    registry = Attachments()
    reader, _ = come(registry, "a", lossless=True)
    registry.ack(reader, 10)
    assert registry.ack(reader, 5) is None
    assert reader.acked == 10
    registry.detach(reader)
    late, _ = come(registry, "b", lossless=True)
    assert registry.ack(late, 7) is None


def test_the_list_is_in_the_order_of_coming() -> None:
    registry = Attachments()
    for client in ("a", "b", "c", "a"):
        come(registry, client)
    assert [one.client for one in registry] == ["b", "c", "a"]
    assert len(registry) == 3

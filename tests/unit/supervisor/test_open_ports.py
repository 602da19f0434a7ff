from __future__ import annotations

from supervisor.open_ports import MOST_PORTS, compare, places_of
from supervisor.records import OpenPort

WEB = OpenPort(8080, "127.0.0.1", 5, 1)
DB = OpenPort(5432, "::1", 6, 2)


def test_what_opened_is_told_with_the_time_at_which_it_was_seen() -> None:
    ports, told = compare((WEB,), {(8080, "127.0.0.1"): 5, (5432, "::1"): 6}, 2)
    assert ports == (DB, WEB)
    assert told == [("port.opened", {"port": 5432, "address": "::1", "pid": 6})]


def test_what_closed_is_told_first() -> None:
    ports, told = compare((WEB,), {(5432, "::1"): 6}, 2)
    assert ports == (DB,)
    assert [(kind, data["port"]) for kind, data in told] == [
        ("port.closed", 8080),
        ("port.opened", 5432),
    ]


def test_what_stayed_is_told_of_no_more() -> None:
    assert compare((WEB, DB), places_of((WEB, DB)), 9) == ((DB, WEB), [])


def test_a_port_that_another_process_holds_now_stayed_open() -> None:
    ports, told = compare((WEB,), {(8080, "127.0.0.1"): 7}, 9)
    assert ports == (OpenPort(8080, "127.0.0.1", 7, 1),)
    assert told == []


def test_the_same_port_at_two_addresses_is_two_listeners() -> None:
    ports, told = compare((), {(80, "0.0.0.0"): 1, (80, "::"): 1}, 0)
    assert [one.address for one in ports] == ["0.0.0.0", "::"]
    assert len(told) == 2


def test_thousands_of_ports_are_told_of_up_to_the_limit() -> None:
    ports, told = compare((), {(port, "::"): 1 for port in range(1, 5000)}, 0)
    assert [one.port for one in ports] == list(range(1, MOST_PORTS + 1))
    assert len(told) == MOST_PORTS

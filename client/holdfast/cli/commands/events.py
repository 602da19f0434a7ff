"""hold events: what happened on the node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from holdfast.backoff import Backoff
from holdfast.cli.arguments import json_option, label_option
from holdfast.cli.connection import lines_of
from holdfast.cli.failure import Failure
from holdfast.cli.invocation import Invocation
from holdfast.cli.resolve import session_of
from holdfast.cli.table import escaped
from holdfast.errors import NotReachable

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["events_command", "line_of", "parse_events"]

Event = dict[str, Any]


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens next.")
@click.option("--after", type=click.IntRange(min=0), metavar="ID", help="Only later ones.")
@click.option("--type", "types", multiple=True, help="Such as session.exited (repeated: or).")
@click.option("--session", "sessions", multiple=True, metavar="SESSION",
              help="Only of this session: an ID, a name, a part of an ID.")  # fmt: skip
@label_option("Only of sessions with this label.")
@json_option
@click.pass_obj
def events_command(
    invocation: Invocation, /, follow: bool, after: int | None, **filters: tuple[str, ...]
) -> None:
    """Print the events that are kept, oldest first, as lines or (--json) as JSON lines."""
    names = {"types": "type", "sessions": "session", "labels": "label"}
    query = {names[key]: list(values) for key, values in filters.items()}
    connection = invocation.connect()
    query["session"] = [id_of(connection, ref) for ref in query["session"]]
    last = after
    for event in kept(connection, query, after):
        last = event["id"]
        click.echo(json.dumps(event) if invocation.as_json else line_of(event))
    if follow:
        for event in followed(connection, query, last or 0):
            click.echo(json.dumps(event) if invocation.as_json else line_of(event))


def id_of(connection: Connection, ref: str) -> str:
    """The ID of a session; also of one that was removed, as long as the log tells of it."""
    try:
        return str(session_of(connection, ref)["id"])
    except Failure:
        if next(kept(connection, {"session": ref}, None), None) is None:
            raise
    return ref


def kept(connection: Connection, query: dict[str, Any], after: int | None) -> Iterator[Event]:
    """The events that are there already, page by page."""
    while True:
        page = connection.get("/v1/events", {**query, "after": after})
        yield from page["items"]
        if page["next"] == after:
            return
        after = page["next"]


def followed(connection: Connection, query: dict[str, Any], after: int) -> Iterator[Event]:
    """What happens after the event `after`, also over restarts of the daemon."""
    backoff = Backoff()
    while True:
        try:
            stream = connection.stream(
                "/v1/events", {**query, "after": after}, accept="text/event-stream"
            )
            with stream as response:
                for event in parse_events(lines_of(response)):
                    backoff.reset()
                    after = event["id"]
                    yield event
            raise NotReachable("the stream of events ended")
        except NotReachable:
            delay = backoff.delay()
            if delay is None:
                raise
            time.sleep(delay)


def parse_events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events of a stream of server-sent events (HTML standard, 9.2)."""
    kind = ""
    for raw in lines:
        name, _, value = raw.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            content = json.loads(value)
            if kind == "gone":
                raise Failure(f"{content['message']} Begin again: hold events")
            yield content


def line_of(event: Event) -> str:
    """One event for people."""
    moment = datetime.fromisoformat(event["time"]).astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    about = event["name"] or event["session"] or event["node"]
    details = " ".join(f"{key}={value}" for key, value in event["data"].items())
    return escaped(f"{moment} {event['type']} {about} {details}".rstrip())

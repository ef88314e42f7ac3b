"""`mimir events subscribe`: changes, as they happen."""

from itertools import islice
from typing import TYPE_CHECKING

import click

from client import exact_json
from client.framework import command, group
from client.output import find_field, serialised, write_line
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import JsonObject

_WEBHOOKS = "client.commands.events_webhook:webhook"
events = group(
    "events",
    summary="Learn of changes: names and versions, never values.",
    lazy={"subscribe": "client.commands.events:subscribe", "webhook": _WEBHOOKS},
    examples=("mimir events subscribe 'kv-v2/*'", "mimir events webhook list"),
)


@command(
    "subscribe",
    examples=(
        "mimir events subscribe",
        "mimir events subscribe 'kv-v2/data-*' --path-prefix secret/data/apps/",
        "mimir events subscribe --after 4711 --count 10",
    ),
)
@click.argument("type_", metavar="[TYPE]", default="*")
@click.option("--path-prefix", metavar="PATH", help="Changes at paths that begin so, as secret/data/apps/.")
@click.option("--after", metavar="N", help="Begin behind the event of this sequence; with those to come, if not given.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many; never, if not given.")
@pass_session
def subscribe(session: Session, type_: str, path_prefix: str | None, after: str | None, count: int | None) -> None:
    """Print each event as a line of JSON, when it happens. TYPE may hold *: kv-v2/data-*.

    What may not be read, listed or subscribed to is not shown. A broken connection is made anew, and goes on where it
    broke; `sequence` is what --after takes, to go on another time. Ctrl-C ends it.
    """
    from client.subscription import event_of, follow

    client = session.client()
    if client.wrap_ttl:
        raise click.UsageError("--wrap-ttl (MIMIR_WRAP_TTL) does not go with subscribe")
    given = {"path_prefix": path_prefix, "after": after}
    query = {name: value for name, value in given.items() if value is not None}
    path = f"sys/events/subscribe/{type_.strip('/')}"
    for message in islice(follow(client, path, query, tell=_tell), count):
        _print(session, event_of(message))


def _tell(sentence: str) -> None:
    click.echo(f"Note: {sentence}", err=True)


def _print(session: Session, event: "JsonObject") -> None:
    if session.field:
        value = find_field(event, session.field)
        write_line(printable(value) if isinstance(value, str) else exact_json.dumps(value, indent=None))
    elif session.format == "yaml":
        write_line(f"---\n{serialised(event, 'yaml')}")
    else:
        text = exact_json.dumps(event, indent=None)
        write_line(text if text.isprintable() else exact_json.compact(event).decode())

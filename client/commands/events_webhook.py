"""`mimir events webhook …`: addresses that are told of changes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from client.commands.generic import keys_table
from client.framework import command, group
from client.inputs import utf8
from client.output import show
from client.session import Session, pass_session
from client.table import key_values, sorted_items

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

_HERE = "client.commands.events_webhook"
webhook = group(
    "webhook",
    summary="Have changes posted to a URL, signed, at least once.",
    lazy={name: f"{_HERE}:{name}" for name in ("create", "read", "update", "delete", "test", "replay")}
    | {"list": f"{_HERE}:list_", "rotate-key": f"{_HERE}:rotate_key"},
    examples=(
        "mimir events webhook create deploy --url https://deploy.example/hook --path-prefix secret/data/apps/",
        "mimir events webhook test deploy",
    ),
)
_ROOT = "sys/events/webhooks"
_OPTIONS = (
    click.option(
        "--type", "event_types", multiple=True, metavar="TYPE", help="Events to tell of, as kv-v2/data-*; may repeat."
    ),
    click.option("--path-prefix", "path_prefixes", multiple=True, metavar="PATH", help="Paths to tell of; may repeat."),
    click.option("--description", metavar="TEXT", help="What it is for."),
    click.option("--enabled/--disabled", default=None, help="Whether it is told at all."),
    click.option("--receiver-ca", metavar="@FILE|-", help="PEM of the CA of the URL, if it is no public one."),
)


def _settings(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _body(session: Session, options: "JsonObject") -> "JsonObject":
    """What was given, as the API names it."""
    body = {name: value for name, value in options.items() if value not in (None, ()) and name != "receiver_ca"}
    for name in ("event_types", "path_prefixes"):
        if name in body:
            body[name] = list(body[name])
    if options["receiver_ca"] is not None:
        body["ca_cert"] = utf8(session.inputs.source(options["receiver_ca"]), what="CA certificate")
    return body


def _path(name: str, action: str = "") -> str:
    return "/".join(filter(None, (_ROOT, name.strip("/"), action)))


@command(
    "create",
    examples=(
        "mimir events webhook create deploy --url https://deploy.example/hook --path-prefix secret/data/apps/",
        "mimir events webhook create audit --url https://siem.example/mimir --type 'kv-v2/*' --receiver-ca @ca.pem",
    ),
)
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="Where events are posted.")
@_settings
@pass_session
def create(session: Session, /, name: str, url: str, **options: Any) -> None:
    """Make a webhook. The key that signs its messages is shown now, and not again."""
    show(session, session.client().request("POST", _path(name), body={"url": url, **_body(session, options)}), _table)


@command(
    "update",
    examples=("mimir events webhook update deploy --disabled", "mimir events webhook update deploy --type 'kv-v2/*'"),
)
@click.argument("name")
@click.option("--url", metavar="URL", help="Where events are posted.")
@_settings
@pass_session
def update(session: Session, /, name: str, url: str | None, **options: Any) -> None:
    """Change a webhook; what is not named stays. A list that is given replaces the one before."""
    body = _body(session, options) | ({"url": url} if url is not None else {})
    if not body:
        raise click.UsageError("say what to change, as --disabled")
    answer = session.client().merge(_path(name), body)
    show(session, answer, lambda given: _table(given) if given.data else f"Success! The webhook {name} is changed.")


@command("read", examples=("mimir events webhook read deploy", "mimir events webhook read deploy -o json"))
@click.argument("name")
@pass_session
def read(session: Session, name: str) -> None:
    """Show a webhook, and how its deliveries are going; never its key."""
    show(session, session.client().read(_path(name)), _table)


@command("list", examples=("mimir events webhook list",))
@pass_session
def list_(session: Session) -> None:
    """List the names of all webhooks."""
    show(session, session.client().list(_ROOT), keys_table)


@command("delete", examples=("mimir events webhook delete deploy",))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a webhook. What was not delivered yet is not."""
    answer = session.client().delete(_path(name))
    show(session, answer, lambda _: f"Success! The webhook {name} is deleted, if it existed.")


@command("test", examples=("mimir events webhook test deploy",))
@click.argument("name")
@pass_session
def test(session: Session, name: str) -> None:
    """Post a test message now, and show what came back."""
    answer = session.client().request("POST", _path(name, "test"), body={})
    show(session, answer, lambda given: _table(given) if given.data else "Success! The test message was delivered.")


@command("rotate-key", examples=("mimir events webhook rotate-key deploy",))
@click.argument("name")
@pass_session
def rotate_key(session: Session, name: str) -> None:
    """Make a new signing key, which is shown now, and not again."""
    show(session, session.client().request("POST", _path(name, "rotate-key"), body={}), _table)


@command("replay", examples=("mimir events webhook replay deploy --after 4711",))
@click.argument("name")
@click.option("--after", required=True, metavar="ID", help="Deliver all events behind this one again.")
@pass_session
def replay(session: Session, name: str, after: str) -> None:
    """Deliver events again, as far back as they are kept."""
    answer = session.client().request("POST", _path(name, "replay"), body={"after": after})
    show(
        session,
        answer,
        lambda given: _table(given) if given.data else f"Success! Events behind {after} are delivered again.",
    )


def _table(answer: "Answer") -> str:
    return key_values(sorted_items(answer.data))

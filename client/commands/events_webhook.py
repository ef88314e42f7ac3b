"""`mimir events webhook …`: addresses that are told of changes."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from client.errors import AbsentError, ExitCode, LocalError
from client.framework import command, group
from client.inputs import utf8
from client.kv_output import section, sections
from client.output import show
from client.pages import detailed_rows
from client.session import Session, pass_session
from client.table import columns, key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

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
    click.option(
        "--of-namespace",
        "namespaces",
        multiple=True,
        metavar="NS",
        help="Namespaces to tell of, as team-a/*; may repeat.",
    ),
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
    for name in ("event_types", "path_prefixes", "namespaces"):
        if name in body:
            body[name] = list(body[name])
    if options["receiver_ca"] is not None:
        body["ca_cert"] = utf8(session.inputs.source(options["receiver_ca"]), what="CA certificate")
    return body


def _path(name: str, action: str = "") -> str:
    return "/".join(filter(None, (_ROOT, name.strip("/"), action)))


_key_option = click.option(
    "--key", metavar="@FILE|-", help="The key that signs, whsec_ and base64; one is made, if not given."
)


def _key(session: Session, given: str | None) -> "JsonObject":
    """The member of the body, of a key that did not stand on the command line."""
    if given is None:
        return {}
    if given != "-" and not given.startswith("@"):
        raise click.UsageError("a key is not written on the command line: give --key @FILE, or - for standard input")
    return {"key": session.inputs.text(given, what="key")}


@command(
    "create",
    examples=(
        "mimir events webhook create deploy --url https://deploy.example/hook --path-prefix secret/data/apps/",
        "mimir events webhook create audit --url https://siem.example/mimir --type 'kv-v2/*' --receiver-ca @ca.pem",
    ),
)
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="Where events are posted.")
@_key_option
@_settings
@pass_session
def create(session: Session, /, name: str, url: str, key: str | None, **options: Any) -> None:
    """Make a webhook. A key that was made for it is shown now, and not again."""
    body: JsonObject = {"url": url, **_body(session, options), **_key(session, key)}
    client = session.client()
    if _exists(client, name):
        raise LocalError(f"there is a webhook {printable(name)} already: `mimir events webhook update` changes it")
    answer = client.request("POST", _path(name), body=body)
    show(session, answer, lambda given: _or_success(given, f"The webhook {printable(name)} is made."))


def _exists(client: "Client", name: str) -> bool:
    """A write makes or changes it, whichever it can: so it is looked at first."""
    try:
        replace(client, wrap_ttl="").read(_path(name))
    except AbsentError:
        return False
    return True


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
    client = session.client()
    if not _exists(client, name):
        raise LocalError(f"there is no webhook {printable(name)}: `mimir events webhook create` makes one")
    answer = client.request("POST", _path(name), body=body)
    show(session, answer, lambda given: _or_success(given, f"The webhook {printable(name)} is changed."))


@command("read", examples=("mimir events webhook read deploy", "mimir events webhook read deploy -o json"))
@click.argument("name")
@pass_session
def read(session: Session, name: str) -> None:
    """Show a webhook, and how its deliveries are going; never its key."""
    show(session, session.client().read(_path(name)), _webhook_text)


def _webhook_text(answer: "Answer") -> str:
    status = answer.data.get("status")
    settings = _table((name, value) for name, value in answer.data.items() if name != "status")
    return sections(
        section("Webhook", settings), section("Delivery", _table(status.items())) if isinstance(status, dict) else ""
    )


@command("list", examples=("mimir events webhook list",))
@pass_session
def list_(session: Session) -> None:
    """List all webhooks."""
    show(session, session.client().list(_ROOT), _names)


def _names(answer: "Answer") -> str:
    rows = [(name, info.get("url"), info.get("enabled")) for name, info in detailed_rows(answer)]
    return columns(("Name", "URL", "Enabled"), rows)


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
    """Post a test message now, and show how the receiver answered. Exits with 1 when it did not take it."""
    answer = session.client().request("POST", _path(name, "test"), body={})
    show(session, answer, lambda given: _table(given.data.items()))
    if answer.data.get("delivered") is False:
        raise click.exceptions.Exit(ExitCode.FAILED)


@command(
    "rotate-key",
    examples=("mimir events webhook rotate-key deploy", "mimir events webhook rotate-key deploy --key @new.key"),
)
@click.argument("name")
@_key_option
@pass_session
def rotate_key(session: Session, name: str, key: str | None) -> None:
    """Sign with a new key, which is shown now if it was made, and not again. For a day the old one signs, too."""
    body = _key(session, key)
    show(
        session,
        session.client().request("POST", _path(name, "rotate-key"), body=body),
        lambda given: _or_success(given, f"The webhook {printable(name)} signs with the new key."),
    )


@command("replay", examples=("mimir events webhook replay deploy --after 4711",))
@click.argument("name")
@click.option(
    "--after", type=click.IntRange(min=0), required=True, metavar="N", help="The event behind which to begin."
)
@pass_session
def replay(session: Session, name: str, after: int) -> None:
    """Deliver again all events behind one, by its `sequence`, as far back as they are kept."""
    answer = session.client().request("POST", _path(name, "replay"), body={"after": after})
    begun = answer.data.get("after", after)
    show(session, answer, lambda _: f"Success! Events behind {begun} are delivered to {printable(name)} once more.")


def _or_success(answer: "Answer", sentence: str) -> str:
    return _table(answer.data.items()) if answer.data else f"Success! {sentence}"


def _table(items: "Iterable[tuple[str, object]]") -> str:
    return key_values(sorted((name, None if value in ("", []) else value) for name, value in items))

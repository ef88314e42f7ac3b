"""`mimir secrets config …`: connections to databases."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.generic import keys_table
from client.database_options import (
    check_not_literal,
    database_body,
    folder_path,
    has_placeholder,
    is_at_terminal,
    item_path,
    member_rows,
    members_argument,
    statements,
    words,
)
from client.errors import LocalError
from client.framework import command, group
from client.inputs import utf8
from client.output import show
from client.session import Session, pass_session
from client.table import key_values
from client.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from client.api import Answer, JsonObject

_HERE = "client.commands.secrets_config"
config = group(
    "config",
    summary="Write, read, list and delete connections to databases.",
    lazy={"write": f"{_HERE}:write", "read": f"{_HERE}:read", "list": f"{_HERE}:list_", "delete": f"{_HERE}:delete"},
    examples=(
        (
            "mimir secrets config write database/config/orders-db --plugin postgresql --connection-url "
            "'postgresql://{{username}}:{{password}}@db.internal:5432/orders' --allowed-roles orders-api"
        ),
        "mimir secrets config list database/config",
    ),
)
_KIND = "config"


def _plugins(_ctx: click.Context, _param: click.Parameter, begun: str) -> "list[CompletionItem]":
    """Those that are installed beside this command; the appliance may have others."""
    from importlib.metadata import entry_points

    from click.shell_completion import CompletionItem

    names = sorted(point.name for point in entry_points(group="mimir.database_plugins"))
    return [CompletionItem(name) for name in names if name.startswith(begun)]


@command(
    "write",
    examples=(
        (
            "mimir secrets config write database/config/orders-db --plugin postgresql --connection-url "
            "'postgresql://{{username}}:{{password}}@db.internal:5432/orders' --allowed-roles orders-api "
            "--root-rotation-ttl 24h"
        ),
        "mimir secrets config write database/config/orders-db --allowed-roles orders-api,orders-report",
        "mimir secrets config write database/config/orders-db --username mimir --password @password.txt",
        (
            "mimir secrets config write database/config/cache --plugin redis host=cache.internal port=6379 "
            "--username mimir --password -"
        ),
    ),
)
@click.argument("path")
@members_argument
@click.option("--plugin", metavar="NAME", shell_complete=_plugins, help="The kind of database, as postgresql.")
@click.option("--connection-url", metavar="URL|@FILE|-", help="Where it is; {{username}} and {{password}} are put in.")
@click.option("--allowed-roles", multiple=True, metavar="ROLE[,ROLE]...", help="Who may use it; * stands for all.")
@click.option("--root-rotation-ttl", metavar="TIME", help="Change the connection's own password that often, as 24h.")
@click.option("--root-rotation-statements", multiple=True, metavar="TEXT|@FILE", help="How that is done; may repeat.")
@click.option("--username", metavar="NAME", help="Log in as this user [MIMIR_DATABASE_USERNAME].")
@click.option("--password", metavar="@FILE|-", help="Its password [MIMIR_DATABASE_PASSWORD]; asked for at a terminal.")
@click.option("--password-policy", metavar="NAME", help="The policy of the passwords that are made.")
@click.option("--username-template", metavar="TEXT|@FILE", help="What accounts are called.")
@click.option("--tls-ca", metavar="@FILE|-", help="PEM of the CA of the database, if it is no public one.")
@click.option("--verify/--no-verify", default=None, help="Whether it is tried before it is stored [--verify].")
@pass_session
def write(session: Session, /, path: str, members: tuple[str, ...], **options: Any) -> None:
    """Configure a connection, or change what is given of one.

    Other members of the API are given as KEY=VALUE. The password is never shown again, and `mimir dynamic rotate-root`
    replaces it by one that nobody knows.
    """
    where = item_path(path, _KIND)
    body = _body(session, members, options)
    if not body:
        raise click.UsageError("say what to write, as --plugin postgresql --connection-url URL --allowed-roles ROLE")
    _add_login(session, body)
    answer = session.client().request("POST", where, body=body)
    show(session, answer, lambda _: _written(where, body))


def _body(session: Session, members: tuple[str, ...], options: "JsonObject") -> "JsonObject":
    """What was given, as the API names it."""
    password = options["password"]
    if password is not None:
        check_not_literal(password, name="--password ")
    return database_body(
        session,
        members,
        plugin_name=options["plugin"],
        connection_url=_text(session, options["connection_url"], what="connection URL"),
        allowed_roles=words(options["allowed_roles"]),
        root_rotation_ttl=options["root_rotation_ttl"],
        root_rotation_statements=statements(session, options["root_rotation_statements"]),
        username=options["username"],
        password=None if password is None else utf8(session.inputs.source(password), what="password"),
        password_policy=options["password_policy"],
        username_template=_text(session, options["username_template"], what="username template"),
        tls_ca=_ca(session, options["tls_ca"]),
    ) | ({} if options["verify"] is None else {"verify_connection": options["verify"]})


def _text(session: Session, given: str | None, *, what: str) -> str | None:
    return None if given is None else utf8(session.inputs.source(given), what=what).strip()


def _ca(session: Session, given: str | None) -> str | None:
    if given is None:
        return None
    text = utf8(session.inputs.source(given), what="CA certificate")
    if "-----BEGIN " not in text:
        raise LocalError("--tls-ca is no PEM: write --tls-ca @FILE, and turn DER into PEM with `openssl x509`")
    return text


def _add_login(session: Session, body: "JsonObject") -> None:
    """User and password from the environment or a question, where the body says how to reach a database as somebody.

    Not for other changes: the variables may hold a password that was rotated away since.
    """
    for name in ("username", "password"):
        if name in body or not _takes(body, name):
            continue
        value = session.variable(f"DATABASE_{name.upper()}")
        if not value and is_at_terminal():
            value = _asked(name)
        if value:
            body[name] = value


def _takes(body: "JsonObject", name: str) -> bool:
    """Whether the URL has a place for it; one that names nobody, or none, leaves that to the plugin."""
    url = str(body.get("connection_url") or "")
    return has_placeholder(url, name) or ("@" not in url and "plugin_name" in body)


def _asked(name: str) -> str:
    """An answer from the terminal; none leaves what is stored."""
    prompt = f"{name.capitalize()} for the database (empty: leave as it is)"
    return str(click.prompt(prompt, hide_input=name == "password", default="", show_default=False, err=True))


def _written(where: str, body: "JsonObject") -> str:
    text = f"Success! The connection is written to {printable(where)}."
    if "password" in body:
        mount, name = where.rsplit(f"/{_KIND}/", 1)
        mounted = "" if mount == "database" else f" --mount {mount}"
        hint = f"mimir dynamic rotate-root {name}{mounted}"
        text += f" So that nobody knows its password any more: {printable(hint)}"
    return text


@command("read", examples=("mimir secrets config read database/config/orders-db",))
@click.argument("path")
@pass_session
def read(session: Session, path: str) -> None:
    """Show a connection, without its password."""
    show(session, session.client().read(item_path(path, _KIND)), connection_table)


def connection_table(answer: "Answer") -> str:
    """The details of the plugin among the members that all have."""
    details = answer.data.get("connection_details")
    flat = {name: value for name, value in answer.data.items() if name != "connection_details"}
    return key_values(member_rows((details if isinstance(details, dict) else {}) | flat))


@command("list", examples=("mimir secrets config list database/config", "mimir secrets config list database"))
@click.argument("path")
@pass_session
def list_(session: Session, path: str) -> None:
    """List the names of the connections of a mount."""
    show(session, session.client().list(folder_path(path, _KIND)), keys_table)


@command("delete", examples=("mimir secrets config delete database/config/orders-db",))
@click.argument("path")
@pass_session
def delete(session: Session, path: str) -> None:
    """Delete a connection. Accounts that were made through it cannot be removed any more: revoke their leases first."""
    where = item_path(path, _KIND)
    answer = session.client().delete(where)
    show(session, answer, lambda _: f"Success! The connection {printable(where)} is deleted, if it existed.")

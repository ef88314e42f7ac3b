"""`mimir secrets …`: secrets engines are enabled, listed, tuned, moved and disabled here."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.mount_settings import config_of, mount_settings
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

secrets = group(
    "secrets",
    summary="Manage secrets engines, connections to databases, and roles.",
    lazy={
        "engine": "client.commands.secrets:engine",
        "config": "client.commands.secrets_config:config",
        "role": "client.commands.secrets_role:role",
    },
    examples=("mimir secrets engine enable transit", "mimir secrets engine list"),
)
engine = group(
    "engine",
    summary="Enable, list, tune, move and disable secrets engines.",
    lazy={"enable": "client.commands.secrets:enable", "list": "client.commands.secrets:list_"}
    | {name: f"client.commands.secrets:{name}" for name in ("tune", "move", "disable")},
    examples=("mimir secrets engine enable transit --path payments", "mimir secrets engine list"),
)


@command(
    "enable",
    examples=(
        "mimir secrets engine enable transit",
        "mimir secrets engine enable transit --path payments --description 'card data'",
    ),
)
@click.argument("type_", metavar="TYPE")
@click.option("--path", metavar="PATH", help="Where it is mounted; its type, if not given.")
@mount_settings
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the engine; may repeat.")
@pass_session
def enable(session: Session, /, type_: str, path: str | None, options: tuple[str, ...], **settings: Any) -> None:
    """Mount a secrets engine of TYPE."""
    if path is not None and not path.strip("/"):
        raise click.UsageError("--path is empty")
    where = (path or type_).strip("/")
    body: JsonObject = {"type": type_}
    if (description := settings.pop("description")) is not None:
        body["description"] = description
    if config := config_of(settings):
        body["config"] = config
    if options:
        body["options"] = session.inputs.pairs(options)
    answer = session.client().request("POST", f"sys/mounts/{where}", body=body)
    show(session, answer, lambda _: f"Success! The {type_} engine is enabled at {where}/.")


@command(
    "tune",
    examples=(
        "mimir secrets engine tune payments --default-lease-ttl 1h --max-lease-ttl 24h",
        "mimir secrets engine tune payments --description 'card data'",
    ),
)
@click.argument("path")
@mount_settings
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the engine; may repeat.")
@pass_session
def tune(session: Session, /, path: str, options: tuple[str, ...], **settings: Any) -> None:
    """Change the settings of a mount; what is not named stays."""
    where = path.strip("/")
    body = config_of(settings)
    if options:
        body["options"] = session.inputs.pairs(options)
    if not body:
        raise click.UsageError("say what to change, as --default-lease-ttl 1h")
    answer = session.client().request("POST", f"sys/mounts/{where}/tune", body=body)
    show(session, answer, lambda _: f"Success! The engine at {where}/ is tuned.")


@command("move", examples=("mimir secrets engine move payments/ cards/",))
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@pass_session
def move(session: Session, source: str, target: str) -> None:
    """Move a mount with its data to another path. Its leases are revoked."""
    body: JsonObject = {"from": source.strip("/") + "/", "to": target.strip("/") + "/"}
    answer = session.client().request("POST", "sys/remount", body=body)
    show(session, answer, lambda _: f"Success! {body['from']} is now {body['to']}.")


@command("list", examples=("mimir secrets engine list", "mimir secrets engine list -o json"))
@pass_session
def list_(session: Session) -> None:
    """List the mounted secrets engines."""
    show(session, session.client().read("sys/mounts"), mounts_table)


@command("disable", examples=("mimir secrets engine disable payments",))
@click.argument("path")
@pass_session
def disable(session: Session, path: str) -> None:
    """Unmount a secrets engine. All it holds is gone."""
    where = path.strip("/")
    answer = session.client().delete(f"sys/mounts/{where}")
    show(session, answer, lambda _: f"Success! The engine at {where}/ is disabled, if it existed.")


def mounts_table(answer: "Answer") -> str:
    """Path, type, accessor and description of each mount, in the order of their paths."""
    mounts = sorted((path, mount) for path, mount in answer.data.items() if isinstance(mount, dict))
    rows = [(path, *(mount.get(name) or "" for name in ("type", "accessor", "description"))) for path, mount in mounts]
    return columns(("Path", "Type", "Accessor", "Description"), rows)

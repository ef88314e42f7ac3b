"""`mimir secrets engine …`: enable, list and disable secrets engines."""

from typing import TYPE_CHECKING

import click

from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

secrets = group(
    "secrets",
    summary="Manage secrets engines.",
    lazy={"engine": "client.commands.secrets:engine"},
    examples=("mimir secrets engine enable transit", "mimir secrets engine list"),
)
engine = group(
    "engine",
    summary="Enable, list and disable secrets engines.",
    lazy={"enable": "client.commands.secrets:enable", "list": "client.commands.secrets:list_"}
    | {"disable": "client.commands.secrets:disable"},
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
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the engine; may repeat.")
@pass_session
def enable(session: Session, type_: str, path: str | None, description: str | None, options: tuple[str, ...]) -> None:
    """Mount a secrets engine of TYPE."""
    where = (path or type_).strip("/")
    body: JsonObject = {"type": type_}
    if description is not None:
        body["description"] = description
    if options:
        body["options"] = session.inputs.pairs(options)
    answer = session.client().request("POST", f"sys/mounts/{where}", body=body)
    show(session, answer, lambda _: f"Success! The {type_} engine is enabled at {where}/.")


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

"""`mimir namespace …`: make, look at and delete namespaces."""

from typing import TYPE_CHECKING

import click

from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import cell, columns, key_values, sorted_items

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

namespace = group(
    "namespace",
    summary="Manage namespaces: each has mounts, policies, tokens and identity of its own.",
    lazy={
        "create": "client.commands.namespace:create",
        "list": "client.commands.namespace:list_",
        "lookup": "client.commands.namespace:lookup",
        "patch": "client.commands.namespace:patch",
        "delete": "client.commands.namespace:delete",
    },
    examples=("mimir namespace create team-a", "mimir namespace list", "mimir --namespace team-a token lookup"),
)


@command(
    "create",
    examples=(
        "mimir namespace create team-a",
        "mimir namespace create payments --namespace team-a --metadata owner=core",
    ),
)
@click.argument("path")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Noted with it; repeat for several.")
@pass_session
def create(session: Session, path: str, metadata: tuple[str, ...]) -> None:
    """Make a namespace inside the one in use."""
    parent, slash, name = path.strip("/").rpartition("/")
    if slash:
        raise click.UsageError(f"one inside another is made there: mimir --namespace {parent} namespace create {name}")
    body: JsonObject = {"custom_metadata": session.inputs.pairs(metadata)} if metadata else {}
    show(session, session.client().write(f"sys/namespaces/{path.strip('/')}", body), namespace_table)


@command("list", examples=("mimir namespace list", "mimir namespace list --all"))
@click.option("--all", "everything", is_flag=True, help="Those inside the listed ones, too.")
@pass_session
def list_(session: Session, everything: bool) -> None:
    """List the namespaces inside the one in use."""
    query = {"scan": "true"} if everything else {"list": "true"}
    show(session, session.client().read("sys/namespaces", query), _listing)


@command("lookup", examples=("mimir namespace lookup team-a",))
@click.argument("path")
@pass_session
def lookup(session: Session, path: str) -> None:
    """Show a namespace."""
    show(session, session.client().read(f"sys/namespaces/{path.strip('/')}"), namespace_table)


@command("patch", examples=("mimir namespace patch team-a --metadata owner=core --remove old",))
@click.argument("path")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Set it; repeat for several.")
@click.option("--remove", multiple=True, metavar="KEY", help="Take it away; repeat for several.")
@pass_session
def patch(session: Session, path: str, metadata: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Change the metadata of a namespace; what is not named stays."""
    if not metadata and not remove:
        raise click.UsageError("say what to change: --metadata KEY=VALUE or --remove KEY")
    changes: JsonObject = {**session.inputs.pairs(metadata), **dict.fromkeys(remove)}
    answer = session.client().merge(f"sys/namespaces/{path.strip('/')}", {"custom_metadata": changes})
    show(session, answer, namespace_table)


@command("delete", examples=("mimir namespace delete team-a",))
@click.argument("path")
@pass_session
def delete(session: Session, path: str) -> None:
    """Delete a namespace with its mounts, leases, tokens, policies and identity."""
    where = path.strip("/")
    answer = session.client().delete(f"sys/namespaces/{where}")
    show(session, answer, lambda _: f"Success! The namespace {where}/ is deleted, if it existed.")


def namespace_table(answer: "Answer") -> str:
    """One namespace."""
    return key_values(sorted_items(answer.data))


def _listing(answer: "Answer") -> str:
    known = answer.data.get("key_info")
    info = known if isinstance(known, dict) else {}
    rows = [(path, item.get("id"), _pairs(item.get("custom_metadata"))) for path, item in sorted(info.items())]
    return columns(("Path", "Id", "Metadata"), rows)


def _pairs(metadata: object) -> str:
    return " ".join(f"{name}={cell(value)}" for name, value in metadata.items()) if isinstance(metadata, dict) else ""

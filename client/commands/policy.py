"""`mimir policy …`: write, read, list and delete policies."""

from typing import TYPE_CHECKING

import click

from client.commands.generic import keys_table
from client.framework import command, group
from client.inputs import utf8
from client.output import show
from client.session import Session, pass_session

if TYPE_CHECKING:
    from client.api import Answer

policy = group(
    "policy",
    summary="Write, read, list and delete policies.",
    lazy={"write": "client.commands.policy:write", "read": "client.commands.policy:read"}
    | {"list": "client.commands.policy:list_", "delete": "client.commands.policy:delete"},
    examples=("mimir policy write orders-api ./policies/orders-api.hcl", "mimir policy list"),
)
_ROOT = "sys/policies/acl"


@command(
    "write",
    examples=(
        "mimir policy write orders-api ./policies/orders-api.hcl",
        "mimir policy write orders-api - < orders-api.hcl",
    ),
)
@click.argument("name")
@click.argument("file", metavar="FILE|-")
@pass_session
def write(session: Session, name: str, file: str) -> None:
    """Store a policy under NAME, from a file or - for standard input."""
    text = utf8(session.inputs.source(file if file == "-" else f"@{file}"), what="policy")
    answer = session.client().write(f"{_ROOT}/{name}", {"policy": text})
    show(session, answer, lambda _: f"Success! Policy {name} is written.")


@command("read", examples=("mimir policy read orders-api", "mimir policy read orders-api > orders-api.hcl"))
@click.argument("name")
@pass_session
def read(session: Session, name: str) -> None:
    """Print a policy as it was written."""
    show(session, session.client().read(f"{_ROOT}/{name}"), policy_text)


@command("list", examples=("mimir policy list",))
@pass_session
def list_(session: Session) -> None:
    """List the names of all policies."""
    show(session, session.client().list(_ROOT), keys_table)


@command("delete", examples=("mimir policy delete orders-api",))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a policy. Tokens that name it lose what it allowed."""
    answer = session.client().delete(f"{_ROOT}/{name}")
    show(session, answer, lambda _: f"Success! Policy {name} is deleted, if it existed.")


def policy_text(answer: "Answer") -> str:
    """The text byte for byte, but for the line break that printing adds."""
    return str(answer.data.get("policy") or "").removesuffix("\n")

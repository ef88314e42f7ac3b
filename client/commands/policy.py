"""`mimir policy …`: write, read, list and delete policies."""

import sys
from typing import TYPE_CHECKING

import click

from client.commands.generic import keys_table
from client.framework import command, group
from client.inputs import utf8
from client.output import show, write_exact
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

policy = group(
    "policy",
    summary="Write, read, try and compare policies.",
    lazy={"write": "client.commands.policy:write", "read": "client.commands.policy:read"}
    | {"list": "client.commands.policy:list_", "delete": "client.commands.policy:delete"}
    | {"test": "client.commands.policy_trial:test", "explain": "client.commands.policy_trial:explain"}
    | {"fmt": "client.commands.policy_text:fmt", "lint": "client.commands.policy_text:lint"}
    | {name: f"client.commands.policy_history:{name}" for name in ("versions", "diff", "rollback")},
    examples=(
        "mimir policy write orders-api ./policies/orders-api.hcl",
        "mimir policy list",
        "mimir policy test --identity orders-api --path database/creds/orders-api --action read",
    ),
)
ROOT = "sys/policies/acl"


@command(
    "write",
    examples=(
        "mimir policy write orders-api ./policies/orders-api.hcl",
        "mimir policy write orders-api - < orders-api.hcl",
        "mimir policy write contractor ./policies/contractor.hcl --ttl 720h",
        "mimir policy write orders-api ./policies/orders-api.hcl --cas 3",
    ),
)
@click.argument("name")
@click.argument("file", metavar="FILE|-")
@click.option("--ttl", metavar="TIME", help="It counts for so long, and for nothing afterwards.")
@click.option("--expiration", metavar="TIME", help="It counts until then, as 2027-01-31T00:00:00Z.")
@click.option("--cas", type=click.IntRange(min=-1), help="Write only if this version is in force; 0: none.")
@pass_session
def write(session: Session, /, name: str, file: str, **options: str | int | None) -> None:
    """Store a policy under NAME, from a file or - for standard input. What it replaces is kept as a version."""
    if options["ttl"] and options["expiration"]:
        raise click.UsageError("give --ttl or --expiration, not both")
    text = utf8(session.inputs.source(file if file == "-" else f"@{file}"), what="policy")
    body: JsonObject = {"policy": text}
    body |= {option: value for option, value in options.items() if value is not None}
    answer = session.client().write(f"{ROOT}/{name}", body)
    show(session, answer, lambda _: f"Success! Policy {name} is written.")


@command(
    "read",
    examples=(
        "mimir policy read orders-api",
        "mimir policy read orders-api > orders-api.hcl",
        "mimir policy read orders-api --version 3",
    ),
)
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="An older version of it.")
@pass_session
def read(session: Session, name: str, version: int | None) -> None:
    """Print a policy as it was written, byte for byte."""
    path = f"{ROOT}/{name}" if version is None else f"{ROOT}/{name}/versions/{version}"
    answer = session.client().read(path)
    text = answer.data.get("policy")
    is_for_people = sys.stdout is not None and sys.stdout.isatty()
    if session.field or session.format != "table" or is_for_people or not isinstance(text, str):
        show(session, answer, policy_text)
    else:
        write_exact(text.encode("utf-8", "surrogatepass"))


@command("list", examples=("mimir policy list",))
@pass_session
def list_(session: Session) -> None:
    """List the names of all policies."""
    show(session, session.client().list(ROOT), keys_table)


@command("delete", examples=("mimir policy delete orders-api",))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a policy. Tokens that name it lose what it allowed; its versions are kept."""
    answer = session.client().delete(f"{ROOT}/{name}")
    show(session, answer, lambda _: f"Success! Policy {name} is deleted, if it existed.")


def policy_text(answer: "Answer") -> str:
    """The text for a terminal: line by line, what would drive it escaped."""
    return for_terminal(str(answer.data.get("policy") or ""))


def for_terminal(text: str) -> str:
    """Lines and tabs stay; the line break that printing adds is taken off."""
    lines = (line.removesuffix("\r").split("\t") for line in text.removesuffix("\n").split("\n"))
    return "\n".join("\t".join(printable(part) for part in line) for line in lines)

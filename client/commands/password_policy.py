"""`mimir password-policy …`: rules for made-up passwords."""

from typing import TYPE_CHECKING

import click

from client.commands.generic import keys_table
from client.commands.policy import policy_text
from client.framework import command, group
from client.inputs import utf8
from client.output import show
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer

_HERE = "client.commands.password_policy"
password_policy = group(
    "password-policy",
    summary="Rules for made-up passwords, and passwords made up by them.",
    lazy={"write": f"{_HERE}:write", "read": f"{_HERE}:read", "list": f"{_HERE}:list_"}
    | {"delete": f"{_HERE}:delete", "generate": f"{_HERE}:generate"},
    examples=("mimir password-policy write strong ./strong.hcl", "mimir password-policy generate strong"),
)
_ROOT = "sys/policies/password"


@command(
    "write",
    examples=("mimir password-policy write strong ./strong.hcl", "mimir password-policy write strong - < strong.hcl"),
)
@click.argument("name")
@click.argument("file", metavar="FILE|-")
@pass_session
def write(session: Session, name: str, file: str) -> None:
    """Store a password policy under NAME, from a file or - for standard input."""
    text = utf8(session.inputs.source(file if file == "-" else f"@{file}"), what="policy")
    answer = session.client().write(f"{_ROOT}/{name}", {"policy": text})
    show(session, answer, lambda _: f"Success! Password policy {name} is written.")


@command("read", examples=("mimir password-policy read strong",))
@click.argument("name")
@pass_session
def read(session: Session, name: str) -> None:
    """Print a password policy as it was written."""
    show(session, session.client().read(f"{_ROOT}/{name}"), policy_text)


@command("list", examples=("mimir password-policy list",))
@pass_session
def list_(session: Session) -> None:
    """List the names of all password policies."""
    show(session, session.client().list(_ROOT), keys_table)


@command("delete", examples=("mimir password-policy delete strong",))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a password policy. Engines that name it cannot make passwords any more."""
    answer = session.client().delete(f"{_ROOT}/{name}")
    show(session, answer, lambda _: f"Success! Password policy {name} is deleted, if it existed.")


@command("generate", examples=("mimir password-policy generate strong",))
@click.argument("name")
@pass_session
def generate(session: Session, name: str) -> None:
    """Make up a password and print it alone."""
    show(session, session.client().read(f"{_ROOT}/{name}/generate"), password_text)


def password_text(answer: "Answer") -> str:
    """Nothing but the password, for scripts."""
    return printable(str(answer.data.get("password") or ""))

"""`mimir secret read|write|list|delete`: the generic commands, under the name that the guides use."""

from typing import TYPE_CHECKING

import click

from client import exact_json
from client.commands.generic import delete, list_, write
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import duration
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer

secret = group(
    "secret",
    summary="Read, write, list and delete secrets of any engine.",
    lazy={"read": "client.commands.secret:read"},
    examples=("mimir secret read database/creds/orders-api", "mimir secret write cubbyhole/app password=@password.txt"),
)
for _command in (write, list_, delete):
    secret.add_command(_command)


@command(
    "read", examples=("mimir secret read database/creds/orders-api", "mimir secret read cubbyhole/app --field password")
)
@click.argument("path")
@pass_session
def read(session: Session, path: str) -> None:
    """Read a secret. Without -o, it is shown as a JSON object of its lease and its data."""
    from client.commands.generic import secret_table

    answer = session.client().request("GET", path, partial=True)
    show(session, answer, secret_table if session.has_format else secret_object)


def secret_object(answer: "Answer") -> str:
    """The lease, where there is one, and the data."""
    shown: dict[str, object] = {}
    if answer.body.get("lease_id"):
        shown = {"lease_id": answer.body["lease_id"], "lease_duration": duration(answer.body.get("lease_duration"))}
    text = exact_json.dumps(shown | {"data": answer.data})
    return "\n".join(printable(line) for line in text.split("\n"))

"""`mimir pki tidy …`: dropping what has ended."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.pki_config import read_or_write
from client.framework import group
from client.output import show
from client.pki_options import body_of, members_argument, mount_option, pki_command, pki_path
from client.session import Session, pass_session
from client.table import key_values, sorted_items

if TYPE_CHECKING:
    from client.api import Answer

_HERE = "client.commands.pki_tidy"
tidy = group(
    "tidy",
    summary="Drop records of certificates that ended, now or from time to time.",
    lazy={name: f"{_HERE}:{name}" for name in ("start", "status", "cancel", "auto")},
    examples=("mimir pki tidy start", "mimir pki tidy status", "mimir pki tidy auto enabled=true tidy_cert_store=true"),
)


@pki_command("start", examples=("mimir pki tidy start", "mimir pki tidy start --safety-buffer 168h"))
@members_argument
@click.option("--safety-buffer", metavar="TIME", help="Keep what ended less than this ago [72h].")
@mount_option
@pass_session
def start(session: Session, /, members: tuple[str, ...], mount: str, **options: Any) -> None:
    """Begin to drop what has ended: certificates, and revoked ones, unless KEY=VALUE chooses otherwise."""
    body = body_of(session, members, **options)
    if not any(name.startswith("tidy_") for name in body):
        body |= {"tidy_cert_store": True, "tidy_revoked_certs": True}
    answer = session.client().request("POST", pki_path(mount, "tidy"), body=body)
    show(session, answer, lambda _: "Success! It has begun: see `mimir pki tidy status`.")


@pki_command("status", examples=("mimir pki tidy status",))
@mount_option
@pass_session
def status(session: Session, mount: str) -> None:
    """Show how far it is, and what the last one did."""
    show(session, session.client().read(pki_path(mount, "tidy-status")), _table)


@pki_command("cancel", examples=("mimir pki tidy cancel",))
@mount_option
@pass_session
def cancel(session: Session, mount: str) -> None:
    """Stop what is running."""
    show(session, session.client().request("POST", pki_path(mount, "tidy-cancel"), body={}), _table)


@pki_command(
    "auto",
    examples=("mimir pki tidy auto", "mimir pki tidy auto enabled=true tidy_cert_store=true tidy_revoked_certs=true"),
)
@members_argument
@mount_option
@pass_session
def auto(session: Session, members: tuple[str, ...], mount: str) -> None:
    """Show or change what is dropped from time to time."""
    read_or_write(session, mount, "auto-tidy", members)


def _table(answer: "Answer") -> str:
    rows = [(name, value) for name, value in sorted_items(answer.data) if value is not None]
    return key_values(rows) if rows else "Success!"

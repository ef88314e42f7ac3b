"""`mimir status`: whether the appliance is initialised and unsealed."""

from typing import TYPE_CHECKING

import click

from client.errors import CliError, ExitCode
from client.framework import command
from client.output import show
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import Answer

SEALED = 2

_ROWS = {
    "Seal Type": "type",
    "Recovery Seal Type": "recovery_seal_type",
    "Initialized": "initialized",
    "Sealed": "sealed",
    "Total Recovery Shares": "n",
    "Threshold": "t",
    "Unseal Progress": "progress",
    "Version": "version",
    "Build Date": "build_date",
    "Storage Type": "storage_type",
    "Cluster Name": "cluster_name",
    "Cluster ID": "cluster_id",
}


@command("status", examples=("mimir status", "mimir status -o json", "mimir status || echo 'not ready'"))
@pass_session
def status(session: Session) -> None:
    """Show whether the appliance is initialised and unsealed.

    Needs no token. Exits with 0 when it is unsealed, 2 when it is sealed, 1 when it cannot be known.
    """
    try:
        answer = session.client().request("GET", "sys/seal-status", authenticated=False)
    except CliError as exc:
        exc.exit_code = ExitCode.FAILED  # as `bao status`: only 0 and 2 tell the state
        raise
    show(session, answer, status_table)
    if answer.body.get("sealed") is not False:
        raise click.exceptions.Exit(SEALED)


def status_table(answer: "Answer") -> str:
    """The members of sys/seal-status that tell people something."""
    return key_values(
        (label, answer.body[name]) for label, name in _ROWS.items() if answer.body.get(name) not in {None, ""}
    )

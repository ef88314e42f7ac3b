"""`mimir pki warnings`: what will hurt, and when."""

from typing import TYPE_CHECKING

from client.errors import NoAnswerError
from client.output import show
from client.pki_options import mount_option, pki_command, pki_path
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Answer


@pki_command("warnings", examples=("mimir pki warnings", "mimir pki warnings --mount pki-eu -o json"))
@mount_option
@pass_session
def warnings(session: Session, /, mount: str) -> None:
    """Show issuers that end soon, roles that their issuer cannot serve in full any more, and overdue CRLs."""
    show(session, session.client().read(pki_path(mount, "warnings")), _table)


def _table(answer: "Answer") -> str:
    rows = answer.data.get("warnings")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NoAnswerError("the answer holds no list of warnings: `-o json` shows what it holds")
    if not rows:
        return "None."
    return columns(("When", "What"), [(row.get("at"), row.get("sentence")) for row in rows])

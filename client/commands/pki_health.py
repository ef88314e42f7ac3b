"""`mimir pki health-check`: what of a mount needs a look."""

import click

from client.output import show_value
from client.pki_options import mount_option, pki_command, plain_client
from client.session import Session, pass_session
from client.table import columns


@pki_command("health-check", examples=("mimir pki health-check", "mimir pki health-check -mount=pki-shop -o json"))
@mount_option
@pass_session
def health_check(session: Session, mount: str) -> None:
    """Look for CAs and CRLs that end soon, roles that are too generous, and settings that are missing.

    Exits with 1 when something is critical or a warning; notices alone are 0.
    """
    from client.pki_extensions import now_utc
    from client.pki_health import findings, worst

    found = list(findings(plain_client(session, "health-check"), mount.strip("/"), now_utc()))
    value = {"findings": [{"level": level, "about": about, "says": says} for level, about, says in found]}
    show_value(session, value, columns(("Level", "About", "What to do"), found) if found else "Nothing to mend.")
    if worst(found) in {"critical", "warning"}:
        raise click.exceptions.Exit(1)

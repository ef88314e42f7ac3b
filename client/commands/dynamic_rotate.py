"""`mimir dynamic rotate-root|rotate-role|reset`: new passwords, now; connections opened anew."""

import click

from client.database_options import below_mount, confirm, database_command, mount_option, yes_option
from client.output import show
from client.pki_options import name_part
from client.session import Session, pass_session
from client.text import printable


@database_command(
    "rotate-root", examples=("mimir dynamic rotate-root orders-db", "mimir dynamic rotate-root orders-db --yes")
)
@click.argument("connection")
@mount_option
@yes_option
@pass_session
def rotate_root(session: Session, connection: str, mount: str | None, yes: bool) -> None:
    """Change the password of the connection's own user. Afterwards nobody knows it but the appliance."""
    where = below_mount(mount, "rotate-root", name_part(connection, "connection"))
    client = session.client()
    confirm(f"Nobody will know the password of {printable(connection)} afterwards. Rotate it?", yes=yes)
    answer = client.request("POST", where)
    show(session, answer, lambda _: f"Success! The password of {printable(connection)} is changed; nobody knows it.")


@database_command("rotate-role", examples=("mimir dynamic rotate-role orders-batch",))
@click.argument("role")
@mount_option
@pass_session
def rotate_role(session: Session, role: str, mount: str | None) -> None:
    """Change the password of a static role now; its schedule goes on from here."""
    answer = session.client().request("POST", below_mount(mount, "rotate-role", name_part(role, "static role")))
    show(
        session,
        answer,
        lambda _: (
            f"Success! The password of {printable(role)} is changed: mimir dynamic static-creds {printable(role)}"
        ),
    )


@database_command("reset", examples=("mimir dynamic reset orders-db",))
@click.argument("connection")
@mount_option
@pass_session
def reset(session: Session, connection: str, mount: str | None) -> None:
    """Close a connection and open it anew, on all workers, as after a change of certificates or a failover."""
    answer = session.client().request("POST", below_mount(mount, "reset", name_part(connection, "connection")))
    show(session, answer, lambda _: f"Success! The connection {printable(connection)} is open anew.")

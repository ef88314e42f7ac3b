"""`mimir pki role …`: what may be issued, to which names and for how long."""

import click

from client.commands.generic import keys_table
from client.framework import group
from client.output import show
from client.pki_options import body_of, members_argument, mount_option, name_part, pki_command, pki_path
from client.session import Session, pass_session
from client.table import duration, key_values, sorted_items
from client.text import printable

_HERE = "client.commands.pki_role"
role = group(
    "role",
    summary="Write, read, list and delete roles: which names, keys, usages and lifetimes certificates may have.",
    lazy={"write": f"{_HERE}:write", "read": f"{_HERE}:read", "list": f"{_HERE}:list_", "delete": f"{_HERE}:delete"},
    examples=(
        "mimir pki role write web allowed_domains=example.internal allow_subdomains=true key_type=ec max_ttl=72h",
        "mimir pki role list",
    ),
)
_TIMES = {"ttl", "max_ttl", "not_before_duration"}


@pki_command(
    "write",
    examples=(
        "mimir pki role write web allowed_domains=example.internal allow_subdomains=true key_type=ec max_ttl=72h",
        "mimir pki role write mesh allowed_uri_sans='spiffe://example.internal/*' require_cn=false key_type=ec",
        "mimir pki role write web --patch ttl=12h",
        "mimir pki role write web @web-role.json",
    ),
)
@click.argument("name")
@members_argument
@click.option("--patch", is_flag=True, help="Change what is named and leave the rest of an existing role.")
@mount_option
@pass_session
def write(session: Session, *, name: str, members: tuple[str, ...], patch: bool, mount: str) -> None:
    """Make a role, or write it anew. Its members are those of the API: `mimir path-help pki/roles/x` lists them."""
    body = body_of(session, members)
    if not body:
        raise click.UsageError("say what the role allows, as allowed_domains=example.internal allow_subdomains=true")
    path = pki_path(mount, "roles", name_part(name, "role"))
    client = session.client()
    answer = client.merge(path, body) if patch else client.request("POST", path, body=body)
    show(session, answer, lambda _: f"Success! The role {printable(name)} is {'changed' if patch else 'written'}.")


@pki_command("read", examples=("mimir pki role read web", "mimir pki role read web -o json"))
@click.argument("name")
@mount_option
@pass_session
def read(session: Session, name: str, mount: str) -> None:
    """Show a role."""
    answer = session.client().read(pki_path(mount, "roles", name_part(name, "role")))
    show(
        session,
        answer,
        lambda found: key_values(
            (member, duration(value) if member in _TIMES else value) for member, value in sorted_items(found.data)
        ),
    )


@pki_command("list", examples=("mimir pki role list",))
@mount_option
@pass_session
def list_(session: Session, mount: str) -> None:
    """List the names of the roles."""
    show(session, session.client().list(pki_path(mount, "roles")), keys_table)


@pki_command("delete", examples=("mimir pki role delete web",))
@click.argument("name")
@mount_option
@pass_session
def delete(session: Session, name: str, mount: str) -> None:
    """Delete a role. What was issued under it stays valid."""
    answer = session.client().delete(pki_path(mount, "roles", name_part(name, "role")))
    show(session, answer, lambda _: f"Success! The role {printable(name)} is deleted, if it existed.")

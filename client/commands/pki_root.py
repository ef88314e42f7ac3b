"""`mimir pki root …`: root CAs."""

from typing import Any

import click

from client.framework import group
from client.output import show
from client.pki_ca import ask, ca_options, out_options, with_defaults
from client.pki_options import (
    body_of,
    file_text,
    issuer_option,
    members_argument,
    mount_option,
    name_part,
    pki_command,
    pki_path,
    ttl_option,
)
from client.session import Session, pass_session

_HERE = "client.commands.pki_root"
root = group(
    "root",
    summary="Make root CAs, put another one in place, and sign by one what signs itself.",
    lazy={name: f"{_HERE}:{name}" for name in ("generate", "rotate", "replace")}
    | {"sign-self-issued": f"{_HERE}:sign_self_issued"},
    examples=(
        "mimir pki root generate --common-name 'Example Root' --issuer-name root --ttl 87600h",
        "mimir pki root rotate --common-name 'Example Root 2' --issuer-name root-2",
        "mimir pki root replace root-2",
    ),
)
_PRINTED = ("private_key", "certificate")
_issuer_name_option = click.option("--issuer-name", metavar="NAME", help="What the issuer will be called.")
_length_option = click.option(
    "--max-path-length", type=click.IntRange(min=-1), metavar="N", help="How many CAs there may be below it; -1: any."
)


def _generate(session: Session, verb: str, members: tuple[str, ...], mount: str, options: dict[str, Any]) -> None:
    where, out, force = options.pop("where"), options.pop("out"), options.pop("force")
    body = with_defaults(body_of(session, members, **options), where)
    ask(session, pki_path(mount, "root", verb, where), body, printed=_PRINTED, out=out, force=force)


@pki_command(
    "generate",
    examples=(
        "mimir pki root generate --common-name 'Example Root' --issuer-name root --ttl 87600h",
        "mimir pki root generate --common-name 'Example Root' --key-bits 384 permitted_dns_domains=example.internal",
        "mimir pki root generate --common-name 'Example Root' --type existing --key-ref my-key",
    ),
)
@members_argument
@ca_options
@_issuer_name_option
@_length_option
@ttl_option
@mount_option
@pass_session
def generate(session: Session, /, members: tuple[str, ...], mount: str, **options: Any) -> None:
    """Make a root CA, whose key is made in the HSM and stays there, and print its certificate.

    The first one of a mount becomes its default issuer. What else the API takes is given as KEY=VALUE.
    """
    _generate(session, "generate", members, mount, options)


@pki_command("rotate", examples=("mimir pki root rotate --common-name 'Example Root 2' --issuer-name root-2",))
@members_argument
@ca_options
@_issuer_name_option
@_length_option
@ttl_option
@mount_option
@pass_session
def rotate(session: Session, /, members: tuple[str, ...], mount: str, **options: Any) -> None:
    """Make another root CA beside those that are there; the default stays until `mimir pki root replace`."""
    _generate(session, "rotate", members, mount, options)


@pki_command("replace", examples=("mimir pki root replace root-2",))
@click.argument("issuer", metavar="ISSUER")
@mount_option
@pass_session
def replace(session: Session, issuer: str, mount: str) -> None:
    """Make ISSUER the default one. What the one before has signed stays valid."""
    body = {"default": name_part(issuer, "issuer")}
    answer = session.client().request("POST", pki_path(mount, "root", "replace"), body=body)
    show(session, answer, lambda _: f"Success! {issuer} is the default issuer.")


@pki_command("sign-self-issued", examples=("mimir pki root sign-self-issued old-root.pem --issuer root-2",))
@click.argument("file", metavar="FILE|-")
@members_argument
@issuer_option
@out_options
@mount_option
@pass_session
def sign_self_issued(
    session: Session,
    *,
    file: str,
    members: tuple[str, ...],
    issuer: str | None,
    mount: str,
    out: str | None,
    force: bool,
) -> None:
    """Sign another root's certificate, so that those who trust this CA trust that one."""
    body = body_of(session, members, certificate=file_text(session, file, what="certificate"))
    parts = (
        ["root", "sign-self-issued"] if issuer is None else ["issuer", name_part(issuer, "issuer"), "sign-self-issued"]
    )
    ask(session, pki_path(mount, *parts), body, printed=("certificate",), out=out, force=force)

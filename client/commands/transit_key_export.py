"""`mimir transit key export|byok-export|backup|restore`: keys that may leave, and how they come back."""

from typing import TYPE_CHECKING

import click

from client.commands.transit_data import engine_path, force_option, given, mount_option, out_option, text_member
from client.commands.transit_key_output import checked_client, give_out, versions_of, versions_text
from client.errors import LocalError
from client.framework import command
from client.inputs import clean_base64
from client.output import show
from client.session import Session, pass_session

if TYPE_CHECKING:
    from client.api import Answer

_KINDS = ("encryption-key", "signing-key", "hmac-key", "cmac-key", "public-key", "certificate-chain")
_PUBLIC = ("public-key", "certificate-chain")


def _check_version(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "latest" or (value.isascii() and value.isdigit() and int(value) > 0):
        return value
    raise click.BadParameter("it is a number from 1, or latest")


_version_option = click.option(
    "--version", metavar="N|latest", callback=_check_version, help="This version alone; all of them, if not given."
)


@command(
    "export",
    examples=(
        "mimir transit key export shared --type encryption-key --out shared.json",
        "mimir transit key export releases --type public-key --version latest",
        "mimir transit key export releases --type signing-key --encoding pem --version 2 --out key.pem",
    ),
)
@click.argument("name")
@click.option("--type", "kind", type=click.Choice(_KINDS), required=True, help="What of the key.")
@_version_option
@click.option(
    "--encoding", type=click.Choice(("raw", "der", "pem")), help="How key pairs are written; raw and der: in base64."
)
@out_option
@force_option
@mount_option
@pass_session
def export(
    session: Session,
    *,
    name: str,
    kind: str,
    version: str | None,
    encoding: str | None,
    out: str | None,
    force: bool,
    mount: str,
) -> None:
    """Print a key itself. It must have been made exportable; public keys and certificates can always be exported.

    Symmetric keys are in base64, key pairs in PEM, if not asked for otherwise. With --out one version is written as
    it is printed, several as a JSON object of versions.
    """
    client = checked_client(session, out, force=force)
    answer = client.read(engine_path(mount, "export", kind, name, version), {"format": encoding} if encoding else None)
    _show_versions(session, answer, out, single=version is not None, force=force, what=kind, secret=kind not in _PUBLIC)


def _show_versions(
    session: Session, answer: "Answer", out: str | None, *, single: bool, force: bool, what: str, secret: bool
) -> None:
    if answer.body.get("wrap_info"):
        show(session, answer, lambda _: "")
        return
    text = versions_text(versions_of(answer), single=single, to_file=out is not None)
    give_out(session, answer, text, out=out, force=force, what=what.replace("-", " "), secret=secret)


@command(
    "byok-export",
    examples=(
        "mimir transit key byok-export shared --destination other-cluster",
        "mimir transit key byok-export shared --destination other-cluster --version latest --out shared.wrapped",
    ),
)
@click.argument("name")
@click.option(
    "--destination", required=True, metavar="KEY", help="An RSA key here: the imported wrapping key of the other side."
)
@_version_option
@out_option
@force_option
@mount_option
@pass_session
def byok_export(
    session: Session, *, name: str, destination: str, version: str | None, out: str | None, force: bool, mount: str
) -> None:
    """Print a key encrypted for another appliance, which takes it as ciphertext of its import.

    Import the other side's wrapping key here first: `mimir transit key wrapping-key` there, then
    `mimir transit key import DESTINATION --type rsa-4096 --public-key FILE` here.
    """
    client = checked_client(session, out, force=force)
    answer = client.read(engine_path(mount, "byok-export", destination, name, version))
    _show_versions(session, answer, out, single=version is not None, force=force, what="wrapped-key", secret=False)


@command("backup", examples=("mimir transit key backup shared --out shared.backup",))
@click.argument("name")
@out_option
@force_option
@mount_option
@pass_session
def backup(session: Session, name: str, out: str | None, force: bool, mount: str) -> None:
    """Print all of a key, in clear: keep it as you would keep the key. The key must allow it."""
    client = checked_client(session, out, force=force)
    answer = client.read(engine_path(mount, "backup", name))
    if answer.body.get("wrap_info"):
        show(session, answer, lambda _: "")
        return
    give_out(session, answer, text_member(answer, "backup"), out=out, force=force, what="backup", secret=True)


@command(
    "restore",
    examples=(
        "mimir transit key restore shared.backup",
        "mimir transit key restore shared.backup --name shared-again",
        "mimir transit key restore vault.backup --custody hsm",
        "mimir transit key restore - --force < shared.backup",
    ),
)
@click.argument("file", metavar="FILE|-")
@click.option("--name", metavar="NAME", help="Restore it under this name; the one in the backup, if not given.")
@click.option("--force", is_flag=True, help="Replace the key of that name, with all that it could decrypt.")
@click.option(
    "--custody",
    type=click.Choice(("hsm", "sealed")),
    help="Where it lives [sealed, unless the mount requires the HSM]; in the HSM it cannot be backed up again.",
)
@mount_option
@pass_session
def restore(session: Session, *, file: str, name: str | None, force: bool, custody: str | None, mount: str) -> None:
    """Bring back a key from what `backup` printed. Backups of Vault and OpenBao are taken, too."""
    if name == "":
        raise click.UsageError("--name is empty")
    content = session.inputs.file(file)
    if not content.strip():
        raise LocalError("the backup is empty")
    body = {"backup": _backup_text(content), "force": force} | given(custody=custody)
    answer = session.client().request("POST", engine_path(mount, "restore", name), body=body)
    show(session, answer, lambda _: f"Success! {f'Key {name}' if name else 'The key'} is restored.")


def _backup_text(content: bytes) -> str:
    """The base64 of a backup, as it was written to the file."""
    try:
        return clean_base64(content, what="backup")
    except LocalError as exc:
        raise LocalError("this is no backup: give the file that `mimir transit key backup` wrote") from exc

"""`mimir transit key import|import-version|wrapping-key`: keys that were made elsewhere."""

from typing import Any

import click

from client.byok import ENCODINGS, HASHES, key_material, wrapped_key
from client.commands.transit_data import (
    check_exactly_one,
    client_without_wrapping,
    engine_path,
    force_option,
    given,
    mount_option,
    text_member,
)
from client.commands.transit_key import complete_type
from client.commands.transit_key_output import checked_client, give_out
from client.errors import LocalError
from client.framework import command
from client.inputs import utf8
from client.output import show
from client.session import Session, pass_session

_key_option = click.option(
    "--key", "key_file", metavar="FILE|-", help="The key: raw, base64 or hex; of key pairs PEM or DER."
)
_public_key_option = click.option(
    "--public-key", "public_key_file", metavar="FILE|-", help="A public key alone, in PEM: it verifies or encrypts."
)
_encoding_option = click.option(
    "--encoding",
    type=click.Choice(ENCODINGS),
    default="auto",
    show_default=True,
    help="How the file of --key is written.",
)
_hash_option = click.option(
    "--hash",
    "hash_name",
    type=click.Choice(HASHES, case_sensitive=False),
    default="SHA256",
    help="Of RSA-OAEP [SHA256].",
)


@command(
    "import",
    examples=(
        "mimir transit key import payments --type aes256-gcm96 --key payments.key",
        "mimir transit key import releases --type ecdsa-p256 --key releases.pem --allow-rotation",
        "mimir transit key import partner --type rsa-4096 --public-key partner.pem",
        "mimir transit key import legacy --key - --encoding base64 < legacy.b64",
    ),
)
@click.argument("name")
@_key_option
@_public_key_option
@click.option(
    "--type",
    "type_",
    default="aes256-gcm96",
    show_default=True,
    metavar="TYPE",
    help="As of `key create`.",
    shell_complete=complete_type,
)
@click.option("--parameter-set", type=click.Choice(("44", "65", "87")), help="Of type ml-dsa: which one.")
@_encoding_option
@_hash_option
@click.option("--allow-rotation", is_flag=True, help="The appliance may make new versions of it.")
@click.option("--derived", is_flag=True, help="Keys are derived from it for each --context.")
@click.option("--convergent", is_flag=True, help="Equal plaintexts give equal ciphertexts; with --derived.")
@click.option("--exportable", is_flag=True, help="It may be exported again.")
@click.option("--allow-plaintext-backup", is_flag=True, help="It may be backed up.")
@click.option("--auto-rotate-period", metavar="TIME", help="Make a new version every so often; with --allow-rotation.")
@click.option("--custody", type=click.Choice(("hsm", "sealed")), help="Where it lives [hsm, where the HSM can].")
@click.option("--require-custody", type=click.Choice(("hsm",)), help="Refuse to keep it anywhere but in the HSM.")
@mount_option
@pass_session
def import_(session: Session, /, name: str, type_: str, mount: str, **options: Any) -> None:
    """Import a key that was made elsewhere.

    It is encrypted on this machine under the appliance's wrapping key (RSA-OAEP and AES-KWP) and sent in that form
    alone. Ciphertexts that Vault made under it (vault:v1:…) can then be decrypted.
    """
    if options["convergent"] and not options["derived"]:
        raise click.UsageError("--convergent needs --derived: the nonce is derived from the context, too")
    if options["auto_rotate_period"] not in {None, "0"} and not options["allow_rotation"]:
        raise click.UsageError("--auto-rotate-period needs --allow-rotation")
    members = {"type": type_} | given(
        convergent_encryption=options.pop("convergent"),
        **{name: value for name, value in options.items() if name not in _FILE_OPTIONS},
    )
    _send(session, name, mount, "import", options, type_name=_type_name(type_), members=members)


_FILE_OPTIONS = {"key_file", "public_key_file", "encoding", "hash_name"}


@command(
    "import-version",
    examples=(
        "mimir transit key import-version payments --key payments-2.key",
        "mimir transit key import-version partner --key partner-private.pem --version 1",
    ),
)
@click.argument("name")
@_key_option
@_public_key_option
@click.option("--type", "type_", metavar="TYPE", help="The key's type; asked of the appliance, if not given.")
@click.option(
    "--version", type=click.IntRange(min=1), help="Give this version, which has a public key, its private key."
)
@_encoding_option
@_hash_option
@mount_option
@pass_session
def import_version(
    session: Session, /, name: str, type_: str | None, version: int | None, mount: str, **options: Any
) -> None:
    """Import a new version of an imported key."""
    check_exactly_one(key=options["key_file"], public_key=options["public_key_file"])
    if type_ is None and options["key_file"] is not None:
        answer = session.client(wrap_ttl="").read(engine_path(mount, "keys", name))
        type_ = text_member(answer, "type")
    _send(
        *(session, name, mount, "import_version", options),
        type_name=_type_name(type_ or ""),
        members=given(version=version),
    )


def _type_name(text: str) -> str:
    return text.strip().lower()


def _send(
    session: Session,
    name: str,
    mount: str,
    action: str,
    options: dict[str, Any],
    *,
    type_name: str,
    members: dict[str, Any],
) -> None:
    """Read the file, fetch the wrapping key, wrap and send: nothing is sent for a file that cannot be used."""
    check_exactly_one(key=options["key_file"], public_key=options["public_key_file"])
    client = client_without_wrapping(session, action.replace("_", "-"))
    if options["public_key_file"] is not None:
        body = members | {"public_key": _public_key(session, options["public_key_file"])}
    else:
        content = session.inputs.file(options["key_file"])
        material = key_material(content, type_name=type_name, encoding=options["encoding"])
        wrapping = text_member(client.read(engine_path(mount, "wrapping_key")), "public_key")
        hash_name = options["hash_name"].upper()
        ciphertext = wrapped_key(material, wrapping, hash_name=hash_name)
        body = members | {"ciphertext": ciphertext, "hash_function": hash_name}
    answer = client.request("POST", engine_path(mount, "keys", name, action), body=body)
    what = f"A version of key {name}" if action == "import_version" else f"Key {name}"
    show(session, answer, lambda _: f"Success! {what} is imported.")


def _public_key(session: Session, file: str) -> str:
    text = utf8(session.inputs.file(file), what="public key")
    if "PRIVATE KEY-----" in text:
        raise LocalError("the file of --public-key holds a private key, which is not sent so: give it as --key")
    if "PUBLIC KEY-----" not in text:
        raise LocalError("the public key is not PEM: it begins with -----BEGIN PUBLIC KEY-----")
    return text


@command(
    "wrapping-key",
    examples=("mimir transit key wrapping-key", "mimir transit key wrapping-key --out wrapping.pem"),
)
@click.option("--out", metavar="FILE", help="Write it to this file.")
@force_option
@mount_option
@pass_session
def wrapping_key(session: Session, out: str | None, force: bool, mount: str) -> None:
    """Print the public key (RSA, in PEM) under which keys are imported. `key import` fetches it by itself."""
    client = checked_client(session, out, force=force)
    answer = client.read(engine_path(mount, "wrapping_key"))
    if answer.body.get("wrap_info"):
        show(session, answer, lambda _: "")
        return
    give_out(
        session, answer, text_member(answer, "public_key"), out=out, force=force, what="wrapping key", secret=False
    )

"""`mimir transit key …`: the keys of a transit engine."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.generic import keys_table
from client.commands.transit_data import engine_path, given, mount_option
from client.commands.transit_key_text import key_text
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer

_HERE = "client.commands.transit_key"
key = group(
    "key",
    summary="Create, read, list, rotate, configure, import, export and delete keys.",
    lazy={"create": f"{_HERE}:create", "read": f"{_HERE}:read", "list": f"{_HERE}:list_"}
    | {name: f"{_HERE}:{name}" for name in ("rotate", "config", "trim", "delete", "undelete")}
    | {"soft-delete": f"{_HERE}:soft_delete"}
    | {"import": f"{_HERE}_import:import_", "import-version": f"{_HERE}_import:import_version"}
    | {"wrapping-key": f"{_HERE}_import:wrapping_key"}
    | {name: f"{_HERE}_export:{name}" for name in ("export", "backup", "restore")}
    | {"byok-export": f"{_HERE}_export:byok_export"}
    | {"csr": f"{_HERE}_certificate:csr", "set-certificate": f"{_HERE}_certificate:set_certificate"},
    examples=("mimir transit key create customer-data --type aes256-gcm96", "mimir transit key rotate customer-data"),
)

TYPES = (
    *("aes256-gcm96", "aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "ed25519"),
    *("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096"),
    *("hmac", "aes256-cmac", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87", "ml-dsa"),
)


def complete_type(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """For the shell. Which types there are is otherwise for the appliance to say."""
    return [name for name in TYPES if name.startswith(incomplete)]


def _path(mount: str, name: str = "", action: str = "") -> str:
    return engine_path(mount, "keys", name, action)


_LEAVING = "it can leave the appliance, so it is sealed and not in the HSM"


@command(
    "create",
    examples=(
        "mimir transit key create customer-data --type aes256-gcm96",
        "mimir transit key create orders --mount payments --auto-rotate-period 720h",
        "mimir transit key create releases --type ecdsa-p256 --require-custody hsm",
        "mimir transit key create by-tenant --derived --convergent",
        "mimir transit key create future --type ml-dsa --parameter-set 65",
    ),
)
@click.argument("name")
@click.option(
    "--type",
    "type_",
    default="aes256-gcm96",
    show_default=True,
    metavar="TYPE",
    help=", ".join(TYPES[1:]) + ".",
    shell_complete=complete_type,
)
@click.option("--parameter-set", type=click.Choice(("44", "65", "87")), help="Of type ml-dsa: which one.")
@click.option("--key-size", type=click.IntRange(min=1), help="Of type hmac: bytes, 32 to 512.")
@click.option("--derived", is_flag=True, help="Derive a key from it for each --context that callers give.")
@click.option("--convergent", is_flag=True, help="Equal plaintexts give equal ciphertexts; with --derived.")
@click.option("--exportable", is_flag=True, help=f"It may be exported: {_LEAVING}.")
@click.option("--allow-plaintext-backup", is_flag=True, help=f"It may be backed up: {_LEAVING}.")
@click.option("--auto-rotate-period", metavar="TIME", help="Make a new version every so often, as 720h; 0: never.")
@click.option(
    "--max-encryptions", type=click.IntRange(min=1), help="Make a new version after so many encryptions [2^32]."
)
@click.option("--custody", type=click.Choice(("hsm", "sealed")), help="Where it lives [hsm, where the HSM can].")
@click.option("--require-custody", type=click.Choice(("hsm",)), help="Refuse to make it anywhere but in the HSM.")
@mount_option
@pass_session
def create(session: Session, /, name: str, type_: str, mount: str, **options: Any) -> None:
    """Create a key. Its material is made inside the appliance's HSM and stays there.

    Key types that the HSM cannot execute, and keys that may leave, are sealed instead: kept encrypted under a key of
    the HSM. `mimir transit key read` shows the custody.
    """
    _check_creation(options)
    options["convergent_encryption"] = options.pop("convergent")
    answer = session.client().request("POST", _path(mount, name), body={"type": type_} | given(**options))
    show(session, answer, lambda given: _created(given, name, type_))


def _check_creation(options: dict[str, Any]) -> None:
    if options["convergent"] and not options["derived"]:
        raise click.UsageError("--convergent needs --derived: the nonce is derived from the context, too")
    in_hsm = "hsm" in {options["custody"], options["require_custody"]}
    if in_hsm and (options["exportable"] or options["allow_plaintext_backup"]):
        raise click.UsageError(
            "a key in the HSM cannot leave it: --exportable and --allow-plaintext-backup contradict it"
        )
    if options["custody"] == "sealed" and options["require_custody"]:
        raise click.UsageError("--custody sealed contradicts --require-custody hsm")


def _created(answer: "Answer", name: str, type_: str) -> str:
    custody = answer.data.get("custody")
    what = f"type {answer.data.get('type', type_)}" + (f", custody {custody}" if custody else "")
    if answer.body.get("warnings"):  # the key was there before
        return f"Key {name} is unchanged, {printable(what)}."
    return f"Success! Key {name} is created, {printable(what)}."


@command(
    "read",
    examples=(
        "mimir transit key read customer-data",
        "mimir transit key read customer-data --field latest_version",
        "mimir transit key read releases --version 2",
    ),
)
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="Show the public key and certificates of this version.")
@click.option(
    "--context", metavar="BASE64|@FILE|-", help="Of a derived ed25519 key: show the public keys for this context."
)
@mount_option
@pass_session
def read(session: Session, name: str, version: int | None, context: str | None, mount: str) -> None:
    """Show a key's configuration, where it lives, and its versions.

    Public keys are shown by their SHA-256, and in PEM for the latest version, or for --version.
    """
    query = {} if context is None else {"context": session.inputs.base64(context, what="context")}
    answer = session.client().read(_path(mount, name), query or None)
    show(session, answer, lambda found: key_text(found, version=version))


@command(
    "list",
    examples=(
        "mimir transit key list",
        "mimir transit key list --mount payments -o json",
        "mimir transit key list --limit 100 --after orders",
    ),
)
@click.option("--after", metavar="NAME", help="Begin behind this name, which need not be there.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many names.")
@mount_option
@pass_session
def list_(session: Session, after: str | None, limit: int | None, mount: str) -> None:
    """List the names of all keys, or of a page of them."""
    query = {"list": "true"} | ({"after": after} if after else {}) | ({"limit": str(limit)} if limit else {})
    show(session, session.client().read(_path(mount), query), keys_table)


@command("rotate", examples=("mimir transit key rotate customer-data",))
@click.argument("name")
@mount_option
@pass_session
def rotate(session: Session, name: str, mount: str) -> None:
    """Make a new version of a key. Old ciphertexts can still be decrypted."""
    answer = session.client().request("POST", _path(mount, name, "rotate"), body={})
    show(session, answer, lambda given: f"Success! Key {name} is rotated{_now_at(given)}.")


def _now_at(answer: "Answer") -> str:
    version = answer.data.get("latest_version")
    return f"; its latest version is {version}" if isinstance(version, int) else ""


@command(
    "config",
    examples=(
        "mimir transit key config customer-data --min-decryption-version 2",
        "mimir transit key config customer-data --deletion-allowed",
        "mimir transit key config customer-data --auto-rotate-period 720h",
    ),
)
@click.argument("name")
@click.option("--min-decryption-version", type=click.IntRange(min=0), help="Refuse to decrypt under older versions.")
@click.option(
    "--min-encryption-version", type=click.IntRange(min=0), help="Refuse to encrypt under older ones; 0: the latest."
)
@click.option("--deletion-allowed/--no-deletion-allowed", default=None, help="Whether the key can be deleted.")
@click.option("--auto-rotate-period", metavar="TIME", help="Make a new version every so often, as 720h; 0: never.")
@click.option("--max-encryptions", type=click.IntRange(min=0), help="Make a new version after so many; 0: 2^32.")
@click.option("--exportable", is_flag=True, default=None, help="It may be exported, for good; not of keys in the HSM.")
@click.option(
    "--allow-plaintext-backup",
    is_flag=True,
    default=None,
    help="It may be backed up, for good; not of keys in the HSM.",
)
@mount_option
@pass_session
def config(session: Session, /, name: str, mount: str, **options: Any) -> None:
    """Change a key's configuration; what is not named stays as it is."""
    body = {option: value for option, value in options.items() if value is not None}
    if not body:
        raise click.UsageError("there is nothing to change: name at least one option")
    answer = session.client().request("POST", _path(mount, name, "config"), body=body)
    show(session, answer, lambda _: f"Success! Key {name} is configured.")


@command("trim", examples=("mimir transit key trim customer-data --min-available-version 5",))
@click.argument("name")
@click.option(
    "--min-available-version", type=click.IntRange(min=1), required=True, help="The oldest version that is kept."
)
@mount_option
@pass_session
def trim(session: Session, name: str, min_available_version: int, mount: str) -> None:
    """Destroy old versions of a key, and with them the way to read what they encrypted.

    The key must refuse them already: `mimir transit key config NAME --min-decryption-version N
    --min-encryption-version N`.
    """
    body = {"min_available_version": min_available_version}
    answer = session.client().request("POST", _path(mount, name, "trim"), body=body)
    show(session, answer, lambda _: f"Success! Versions of {name} before {min_available_version} are destroyed.")


@command("delete", examples=("mimir transit key delete customer-data",))
@click.argument("name")
@mount_option
@pass_session
def delete(session: Session, name: str, mount: str) -> None:
    """Delete a key and with it the way to read what it encrypted.

    The key must allow it: `mimir transit key config NAME --deletion-allowed`.
    """
    answer = session.client().delete(_path(mount, name))
    show(session, answer, lambda _: f"Success! Key {name} is deleted.")


@command("soft-delete", examples=("mimir transit key soft-delete customer-data",))
@click.argument("name")
@mount_option
@pass_session
def soft_delete(session: Session, name: str, mount: str) -> None:
    """Put a key out of use. Nothing is lost: `mimir transit key undelete` brings it back."""
    answer = session.client().delete(_path(mount, name, "soft-delete"))
    show(session, answer, lambda _: f"Success! Key {name} is out of use; `mimir transit key undelete` brings it back.")


@command("undelete", examples=("mimir transit key undelete customer-data",))
@click.argument("name")
@mount_option
@pass_session
def undelete(session: Session, name: str, mount: str) -> None:
    """Bring back a key that soft-delete put out of use."""
    answer = session.client().request("POST", _path(mount, name, "soft-delete-restore"), body={})
    show(session, answer, lambda _: f"Success! Key {name} is in use again.")

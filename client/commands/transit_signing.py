"""What `sign` and `verify` share: how data is signed, and data that is a file, hashed on this side."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from client.commands.transit_data import (
    MAX_MESSAGE,
    check_one_of,
    common_members,
    data_of,
    encoded,
    engine_path,
    given,
)
from client.errors import DeniedError, LocalError
from client.session import Session

if TYPE_CHECKING:
    from client.api import JsonObject

DEFAULT_HASH = "sha2-256"
_HASHES = {"sha1": "sha1"} | {f"sha2-{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)}
_HASHES |= {f"sha3-{bits}": f"sha3_{bits}" for bits in (224, 256, 384, 512)}
_PIECE = 1024 * 1024

_OPTIONS = (
    click.option("--input", "source", metavar="BASE64|@FILE|-", help="The data in base64; - is standard input."),
    click.option("--raw", is_flag=True, help="The data is plain bytes: encode it here."),
    click.option("--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items."),
    click.option("--file", "file", metavar="FILE|-", help="A file of any size, hashed here: its digest is sent."),
    click.option("--prehashed", is_flag=True, help="The input is a digest already, made with --hash."),
    click.option(
        "--hash", "hash_algorithm", metavar="NAME", help="sha2-256 (if not given), sha2-384, sha2-512, sha3-256…"
    ),
    click.option(
        "--signature-algorithm", type=click.Choice(("pss", "pkcs1v15")), help="Of RSA keys: the padding [pss]."
    ),
    click.option(
        "--marshaling", type=click.Choice(("asn1", "jws")), help="Of ECDSA keys: how signatures are written [asn1]."
    ),
    click.option("--salt-length", metavar="auto|hash|BYTES", help="Of pss: how long the salt is [auto]."),
    click.option("--context", metavar="BASE64|@FILE|-", help="What the key is derived from, of a derived key."),
    click.option("--mount", default="transit", metavar="PATH", help="Where the engine is mounted [transit]."),
)


def signing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def signing_members(session: Session, options: "JsonObject") -> "JsonObject":
    """How it is to be signed, as the API names it."""
    return given(
        hash_algorithm=options["hash_algorithm"],
        signature_algorithm=options["signature_algorithm"],
        marshaling_algorithm=options["marshaling"],
        salt_length=options["salt_length"],
        prehashed=options["prehashed"],
    ) | common_members(session, context=options["context"])


def check_sources(options: "JsonObject") -> None:
    """One of --input, --file and --batch, and with it what goes with it."""
    if options["file"] is None:
        check_one_of(options["source"], options["batch"], "--input or --file")
    elif options["source"] is not None or options["batch"] is not None:
        raise click.UsageError("--file stands alone: it does not go with --input and --batch")
    if options["raw"] and options["source"] is None:
        raise click.UsageError("--raw goes with --input")
    if options["prehashed"] and options["file"] is not None:
        raise click.UsageError("--file is hashed here: --prehashed goes with --input and --batch")
    if options["salt_length"] is not None and not _is_salt_length(options["salt_length"]):
        raise click.UsageError("--salt-length is auto, hash, or a number of bytes")


def _is_salt_length(text: str) -> bool:
    return text in {"auto", "hash"} or (text.isascii() and text.isdigit() and len(text) < 6)


def signed_data(session: Session, key: str, options: "JsonObject") -> "JsonObject":
    """`input`, and for a file that it is hashed."""
    if options["file"] is None:
        return {"input": data_of(session, options["source"], raw=options["raw"])}
    name = options["hash_algorithm"] or DEFAULT_HASH
    if name not in _HASHES:
        raise click.UsageError(f"--file cannot be hashed with {name!r} here; it is one of {', '.join(_HASHES)}")
    if _signs_messages(session, key, options):
        return {"input": encoded(_small_file(session, options["file"], key))}
    digest = hashlib.new(_HASHES[name], usedforsecurity=False)  # which hash is fit is for the appliance to say
    with session.inputs.opened(options["file"]) as source:
        while piece := source.read(_PIECE):
            digest.update(piece)
    return {"input": encoded(digest.digest()), "prehashed": True, "hash_algorithm": name}


def _signs_messages(session: Session, key: str, options: "JsonObject") -> bool:
    """Whether keys of this type sign a message and not its digest; the appliance would sign a digest as a message."""
    try:
        answer = session.client(wrap_ttl="").read(engine_path(options["mount"], "keys", key))
    except DeniedError:
        if options["hash_algorithm"] is not None:
            return False
        raise LocalError(
            f"whether {key} signs digests cannot be found out, as your token may not read the key: "
            "name the hash with --hash, if it is an ECDSA or an RSA key"
        ) from None
    return str(answer.data.get("type", "")).startswith(("ed25519", "ml-dsa"))


def _small_file(session: Session, file: str, key: str) -> bytes:
    with session.inputs.opened(file) as source:
        content = source.read(MAX_MESSAGE + 1)
    if len(content) > MAX_MESSAGE:
        raise LocalError(
            f"the key {key} signs the message itself and not a digest, and the file is larger than "
            f"{MAX_MESSAGE // 1_000_000} MB, which is what can be sent: sign a digest of it as a message of its own"
        )
    return content

"""`mimir transit sign`."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.transit_data import engine_path, given, member, run_batch
from client.commands.transit_signing import check_sources, signed_data, signing_members, signing_options
from client.framework import command
from client.output import show
from client.session import Session, pass_session

if TYPE_CHECKING:
    from client.api import JsonObject


@command(
    "sign",
    examples=(
        "mimir transit sign releases --file app.tar.gz",
        "mimir transit sign releases --raw --input @message.txt --hash sha2-512",
        "mimir transit sign tokens --input - --marshaling jws",
        "openssl dgst -sha256 -binary app.tar.gz | base64 | mimir transit sign releases --prehashed --input -",
        "mimir transit sign releases --batch messages.json -o json",
    ),
)
@click.argument("key")
@signing_options
@click.option("--key-version", type=click.IntRange(min=1), help="Use this version; the latest, if not given.")
@pass_session
def sign(session: Session, /, key: str, key_version: int | None, **options: Any) -> None:
    """Sign with KEY and print the signature.

    A --file is hashed on this machine and its digest is signed, so that it can be of any size; with keys that sign
    messages whole (ed25519, ml-dsa) it is sent, and may have 24 MB.
    """
    check_sources(options)
    members: JsonObject = signing_members(session, options) | given(key_version=key_version)
    path = engine_path(options["mount"], "sign", key)
    if options["batch"] is not None:
        context = {"context": members.pop("context")} if "context" in members else {}
        run_batch(session, path, options["batch"], field="input", printed="signature", options=context, **members)
        return
    body = members | signed_data(session, key, options)
    show(session, session.client().request("POST", path, body=body), lambda answer: member(answer, "signature"))

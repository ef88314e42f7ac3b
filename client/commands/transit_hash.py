"""`mimir transit hmac|cmac|hash`: authentication codes under a key, and digests without one."""

import click

from client.commands.transit_data import (
    check_one_of,
    data_of,
    engine_path,
    given,
    hash_option,
    input_option,
    member,
    mount_option,
    raw_option,
    run_batch,
    version_option,
)
from client.framework import command
from client.output import show
from client.session import Session, pass_session

_batch_option = click.option(
    "--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items, or one base64 a line."
)


@command(
    "hmac",
    examples=(
        "mimir transit hmac webhooks --raw --input @body.json",
        "printf %s 4711 | base64 | mimir transit hmac orders --input - --hash sha2-512",
        "mimir transit hmac orders --batch numbers.txt",
    ),
)
@click.argument("key")
@input_option
@raw_option
@_batch_option
@hash_option
@version_option
@mount_option
@pass_session
def hmac(
    session: Session,
    *,
    key: str,
    source: str | None,
    raw: bool,
    batch: str | None,
    hash_algorithm: str | None,
    key_version: int | None,
    mount: str,
) -> None:
    """Print the HMAC of the data under KEY. Keys of every type have one for this.

    Check one with `mimir transit verify KEY --hmac`.
    """
    members = given(algorithm=hash_algorithm, key_version=key_version)
    _authenticate(session, engine_path(mount, "hmac", key), source, batch, raw=raw, printed="hmac", **members)


@command(
    "cmac",
    examples=(
        "mimir transit cmac cards --raw --input @record",
        "mimir transit cmac cards --batch records.txt --mac-length 8",
    ),
)
@click.argument("key")
@input_option
@raw_option
@_batch_option
@click.option("--mac-length", type=click.IntRange(min=1), help="Keep so many bytes of it [16].")
@version_option
@mount_option
@pass_session
def cmac(
    session: Session,
    *,
    key: str,
    source: str | None,
    raw: bool,
    batch: str | None,
    mac_length: int | None,
    key_version: int | None,
    mount: str,
) -> None:
    """Print the CMAC of the data under KEY, a key of type aes256-cmac.

    Check one with `mimir transit verify KEY --cmac`.
    """
    members = given(mac_length=mac_length, key_version=key_version)
    _authenticate(session, engine_path(mount, "cmac", key), source, batch, raw=raw, printed="cmac", **members)


def _authenticate(
    session: Session, path: str, source: str | None, batch: str | None, *, raw: bool, printed: str, **members: object
) -> None:
    check_one_of(source, batch, "--input")
    if batch is None:
        body = given(**members) | {"input": data_of(session, source or "", raw=raw)}
        show(session, session.client().request("POST", path, body=body), lambda answer: member(answer, printed))
        return
    if raw:
        raise click.UsageError("--raw goes with --input; a batch is base64 already")
    run_batch(session, path, batch, field="input", printed=printed, options={}, **members)


@command(
    "hash",
    examples=(
        "mimir transit hash --raw --input @report.pdf",
        "mimir transit hash sha3-512 --raw --input - < report.pdf",
    ),
)
@click.argument("algorithm", default="sha2-256")
@input_option
@raw_option
@click.option("--encoding", type=click.Choice(("hex", "base64")), help="How to print it [hex].")
@mount_option
@pass_session
def hash_(session: Session, *, algorithm: str, source: str | None, raw: bool, encoding: str | None, mount: str) -> None:
    """Print the digest of the data, made by the appliance; ALGORITHM is sha2-256 if not given."""
    if source is None:
        raise click.UsageError("give the data with --input (- is standard input)")
    body = given(format=encoding) | {"input": data_of(session, source, raw=raw)}
    answer = session.client().request("POST", engine_path(mount, "hash", algorithm), body=body)
    show(session, answer, lambda found: member(found, "sum"))

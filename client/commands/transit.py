"""`mimir transit encrypt|decrypt|rewrap`: encryption with keys that stay in the appliance."""

import click

from client.commands.transit_data import (
    associated_data_option,
    check_one_of,
    common_members,
    context_option,
    data_of,
    decoded,
    engine_path,
    force_option,
    member,
    mount_option,
    run_batch,
    version_option,
)
from client.framework import command, group
from client.output import show, write_exact
from client.session import Session, pass_session

transit = group(
    "transit",
    summary="Encrypt, sign and more, with keys that never leave the appliance.",
    lazy={name: f"client.commands.transit:{name}" for name in ("encrypt", "decrypt", "rewrap")}
    | {"datakey": "client.commands.transit_random:datakey", "random": "client.commands.transit_random:random"}
    | {"sign": "client.commands.transit_sign:sign", "verify": "client.commands.transit_verify:verify"}
    | {name: f"client.commands.transit_hash:{name}" for name in ("hmac", "cmac")}
    | {"hash": "client.commands.transit_hash:hash_"}
    | {"key": "client.commands.transit_key:key", "config": "client.commands.transit_config:config"},
    examples=(
        "mimir transit key create customer-data --type aes256-gcm96",
        'echo -n "ssn=123-45-6789" | base64 | mimir transit encrypt customer-data --input -',
        'mimir transit decrypt customer-data --ciphertext "mimir:v1:xK8s2pQ7..."',
        "mimir transit encrypt customer-data --file backup.tar --out backup.tar.mimir",
        "mimir transit sign releases --file app.tar.gz",
    ),
)

_out_option = click.option("--out", metavar="FILE|-", help="Where --file goes; - is standard output.")


@command(
    "encrypt",
    examples=(
        'echo -n "ssn=123-45-6789" | base64 | mimir transit encrypt customer-data --input -',
        "mimir transit encrypt customer-data --raw --input @letter.txt",
        "mimir transit encrypt customer-data --batch plaintexts.json -o json",
        "mimir transit encrypt customer-data --file backup.tar --out backup.tar.mimir",
        "tar -c /srv | mimir transit encrypt customer-data --file - --out srv.tar.mimir",
    ),
)
@click.argument("key")
@click.option("--input", "source", metavar="BASE64|@FILE|-", help="The plaintext in base64; - is standard input.")
@click.option("--raw", is_flag=True, help="The plaintext is plain bytes: encode it here.")
@click.option("--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items, or one base64 a line.")
@click.option(
    "--file", "file", metavar="FILE|-", help="A file of any size, encrypted here under a data key; with --out."
)
@_out_option
@force_option
@click.option("--chunk-size", metavar="SIZE", help="Of --file: bytes for each chunk, as 64K (if not given) up to 16M.")
@version_option
@associated_data_option
@context_option
@mount_option
@pass_session
def encrypt(
    session: Session,
    *,
    key: str,
    source: str | None,
    raw: bool,
    batch: str | None,
    file: str | None,
    out: str | None,
    force: bool,
    chunk_size: str | None,
    key_version: int | None,
    associated_data: str | None,
    context: str | None,
    mount: str,
) -> None:
    """Encrypt under KEY and print the ciphertext, or encrypt a file.

    --input and --batch are encrypted in the appliance. A --file is encrypted on this machine under a key of its own,
    which stands in the file's header, encrypted under KEY: the file can be of any size and is not sent.
    """
    check_file_options(file, out=out, force=force, chunk_size=chunk_size, others=(source, batch, raw or None))
    options = common_members(session, key_version=key_version, associated_data=associated_data, context=context)
    if file is not None:
        from client.commands.transit_file import encrypt_file

        encrypt_file(session, key, file, out or "", force=force, chunk_size=chunk_size, mount=mount, members=options)
        return
    check_one_of(source, batch, "--input")
    path = engine_path(mount, "encrypt", key)
    if batch is not None:
        if raw:
            raise click.UsageError("--raw goes with --input; a batch is base64 already")
        run_batch(session, path, batch, field="plaintext", printed="ciphertext", options=options)
        return
    plaintext = data_of(session, source or "", raw=raw, what="plaintext")
    answer = session.client().request("POST", path, body={"plaintext": plaintext} | options)
    show(session, answer, lambda given: member(given, "ciphertext"))


def check_file_options(
    file: str | None, *, out: str | None, force: bool, chunk_size: str | None = None, others: tuple[object, ...]
) -> None:
    """--file needs --out, and what belongs to it needs --file."""
    if file is None:
        if out is not None or force or chunk_size is not None:
            raise click.UsageError("--out, --force and --chunk-size go with --file")
        return
    if any(option is not None for option in others):
        raise click.UsageError("--file stands alone: it does not go with single values and batches")
    if not out:
        raise click.UsageError("--file needs --out FILE; --out - is standard output")


@command(
    "decrypt",
    examples=(
        'mimir transit decrypt customer-data --ciphertext "mimir:v1:xK8s2pQ7..."',
        "mimir transit decrypt customer-data --ciphertext @letter.mimir > letter.txt",
        "mimir transit decrypt customer-data --batch ciphertexts.txt",
        "mimir transit decrypt customer-data --file backup.tar.mimir --out backup.tar",
        "mimir transit decrypt customer-data --file srv.tar.mimir --out - | tar -x",
    ),
)
@click.argument("key")
@click.option("--ciphertext", metavar="CIPHERTEXT|@FILE|-", help="What encrypt printed.")
@click.option("--raw", "form", flag_value="raw", help="Exact bytes, even on a terminal.")
@click.option("--base64", "form", flag_value="base64", help="Print the plaintext in base64.")
@click.option("--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items, or one ciphertext a line.")
@click.option("--file", "file", metavar="FILE|-", help="A file that encrypt --file wrote; with --out.")
@_out_option
@force_option
@associated_data_option
@context_option
@mount_option
@pass_session
def decrypt(
    session: Session,
    *,
    key: str,
    ciphertext: str | None,
    form: str | None,
    batch: str | None,
    file: str | None,
    out: str | None,
    force: bool,
    associated_data: str | None,
    context: str | None,
    mount: str,
) -> None:
    """Decrypt and print the plaintext, or decrypt a file.

    Its exact bytes go into a file or a pipe; on a terminal a line break follows. A batch prints one base64 a line.
    With --file nothing is released that was not verified: --out FILE appears when all of it is, and --out - gets chunk
    after chunk, so look at the exit code before you trust that it was all.
    """
    check_file_options(file, out=out, force=force, others=(ciphertext, batch, form))
    options = common_members(session, associated_data=associated_data, context=context)
    if file is not None:
        from client.commands.transit_file import decrypt_file

        decrypt_file(session, key, file, out or "", force=force, mount=mount, members=options)
        return
    check_one_of(ciphertext, batch, "--ciphertext")
    path = engine_path(mount, "decrypt", key)
    if batch is not None:
        run_batch(session, path, batch, field="ciphertext", printed="plaintext", options=options)
        return
    body = {"ciphertext": session.inputs.text(ciphertext or "", what="ciphertext")} | options
    answer = session.client().request("POST", path, body=body)
    if session.field or session.format != "table" or form == "base64" or answer.body.get("wrap_info"):
        show(session, answer, lambda given: member(given, "plaintext"))
    else:
        write_exact(decoded(member(answer, "plaintext")), newline=False if form == "raw" else None)


@command(
    "rewrap",
    examples=(
        'mimir transit rewrap customer-data --ciphertext "mimir:v1:xK8s2pQ7..."',
        "mimir transit rewrap customer-data --batch ciphertexts.txt",
    ),
)
@click.argument("key")
@click.option("--ciphertext", metavar="CIPHERTEXT|@FILE|-", help="What encrypt printed.")
@click.option("--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items, or one ciphertext a line.")
@version_option
@associated_data_option
@context_option
@mount_option
@pass_session
def rewrap(
    session: Session,
    *,
    key: str,
    ciphertext: str | None,
    batch: str | None,
    key_version: int | None,
    associated_data: str | None,
    context: str | None,
    mount: str,
) -> None:
    """Encrypt again under the latest version of KEY, without showing the plaintext to anybody."""
    check_one_of(ciphertext, batch, "--ciphertext")
    path = engine_path(mount, "rewrap", key)
    options = common_members(session, key_version=key_version, associated_data=associated_data, context=context)
    if batch is not None:
        run_batch(session, path, batch, field="ciphertext", printed="ciphertext", options=options)
        return
    body = {"ciphertext": session.inputs.text(ciphertext or "", what="ciphertext")} | options
    show(session, session.client().request("POST", path, body=body), lambda given: member(given, "ciphertext"))

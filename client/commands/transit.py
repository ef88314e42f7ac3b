"""`mimir transit encrypt|decrypt|rewrap`: encryption with keys that stay in the appliance."""

import base64
from typing import TYPE_CHECKING

import click

from client.errors import NoAnswerError
from client.framework import command, group
from client.inputs import clean_base64
from client.output import show, write_exact
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

transit = group(
    "transit",
    summary="Encrypt and decrypt with keys that never leave the appliance.",
    lazy={
        "encrypt": "client.commands.transit:encrypt",
        "decrypt": "client.commands.transit:decrypt",
        "rewrap": "client.commands.transit:rewrap",
        "key": "client.commands.transit_key:key",
    },
    examples=(
        "mimir transit key create customer-data --type aes256-gcm96",
        'echo -n "ssn=123-45-6789" | base64 | mimir transit encrypt customer-data --input -',
        'mimir transit decrypt customer-data --ciphertext "mimir:v1:xK8s2pQ7..."',
    ),
)

mount_option = click.option("--mount", default="transit", metavar="PATH", help="Where the engine is mounted [transit].")
associated_data_option = click.option(
    "--associated-data", metavar="BASE64|@FILE|-", help="Bound to the ciphertext: the same is needed to decrypt."
)


@command(
    "encrypt",
    examples=(
        'echo -n "ssn=123-45-6789" | base64 | mimir transit encrypt customer-data --input -',
        "mimir transit encrypt customer-data --raw --input @letter.txt",
        "mimir transit encrypt customer-data --batch plaintexts.json -o json",
    ),
)
@click.argument("key")
@click.option("--input", "source", metavar="BASE64|@FILE|-", help="The plaintext in base64; - is standard input.")
@click.option("--raw", is_flag=True, help="The plaintext is plain bytes: encode it here.")
@click.option("--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items, or one base64 a line.")
@click.option("--key-version", type=click.IntRange(min=1), help="Use this version; the latest, if not given.")
@associated_data_option
@mount_option
@pass_session
def encrypt(
    session: Session,
    *,
    key: str,
    source: str | None,
    raw: bool,
    batch: str | None,
    key_version: int | None,
    associated_data: str | None,
    mount: str,
) -> None:
    """Encrypt under KEY and print the ciphertext."""
    check_one_of(source, batch, "--input")
    path = f"{mount.strip('/')}/encrypt/{key}"
    options = _options(session, key_version, associated_data)
    if batch is not None:
        if raw:
            raise click.UsageError("--raw goes with --input; a batch is base64 already")
        run_batch(session, path, batch, field="plaintext", printed="ciphertext", options=options)
        return
    plaintext = _encoded(session, source or "") if raw else session.inputs.base64(source or "", what="plaintext")
    answer = session.client().request("POST", path, body={"plaintext": plaintext} | options)
    show(session, answer, lambda given: member(given, "ciphertext"))


def _encoded(session: Session, source: str) -> str:
    return base64.b64encode(session.inputs.source(source)).decode("ascii")


def _options(session: Session, key_version: int | None, associated_data: str | None) -> "JsonObject":
    options: JsonObject = {} if key_version is None else {"key_version": key_version}
    if associated_data is not None:
        options["associated_data"] = session.inputs.base64(associated_data, what="associated data")
    return options


@command(
    "decrypt",
    examples=(
        'mimir transit decrypt customer-data --ciphertext "mimir:v1:xK8s2pQ7..."',
        "mimir transit decrypt customer-data --ciphertext @letter.mimir > letter.txt",
        "mimir transit decrypt customer-data --batch ciphertexts.txt",
    ),
)
@click.argument("key")
@click.option("--ciphertext", metavar="CIPHERTEXT|@FILE|-", help="What encrypt printed.")
@click.option("--raw", "form", flag_value="raw", help="Exact bytes, even on a terminal.")
@click.option("--base64", "form", flag_value="base64", help="Print the plaintext in base64.")
@click.option("--batch", metavar="FILE|-", help="Many at once: a JSON list of batch items, or one ciphertext a line.")
@associated_data_option
@mount_option
@pass_session
def decrypt(
    session: Session,
    *,
    key: str,
    ciphertext: str | None,
    form: str | None,
    batch: str | None,
    associated_data: str | None,
    mount: str,
) -> None:
    """Decrypt and print the plaintext.

    Its exact bytes go into a file or a pipe; on a terminal a line break follows. A batch prints one base64 a line.
    """
    check_one_of(ciphertext, batch, "--ciphertext")
    path = f"{mount.strip('/')}/decrypt/{key}"
    options = _options(session, None, associated_data)
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
@click.option("--key-version", type=click.IntRange(min=1), help="Use this version; the latest, if not given.")
@associated_data_option
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
    mount: str,
) -> None:
    """Encrypt again under the latest version of KEY, without showing the plaintext to anybody."""
    check_one_of(ciphertext, batch, "--ciphertext")
    path = f"{mount.strip('/')}/rewrap/{key}"
    options = _options(session, key_version, associated_data)
    if batch is not None:
        run_batch(session, path, batch, field="ciphertext", printed="ciphertext", options=options)
        return
    body = {"ciphertext": session.inputs.text(ciphertext or "", what="ciphertext")} | options
    show(session, session.client().request("POST", path, body=body), lambda given: member(given, "ciphertext"))


def check_one_of(single: str | None, batch: str | None, option: str) -> None:
    """One input or a batch."""
    if (single is None) == (batch is None):
        raise click.UsageError(f"give {option} for one value (- is standard input) or --batch for many")


def member(answer: "Answer", name: str) -> str:
    """A text member of `data` that must be there."""
    value = answer.data.get(name)
    if not isinstance(value, str):
        raise NoAnswerError(f"the answer holds no {name}: is this path served by a transit engine? See `-o json`")
    return printable(value)


def decoded(text: str) -> bytes:
    """The bytes of a base64 member."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise NoAnswerError("the plaintext in the answer is not base64: `-o json` shows it as it came") from exc


def run_batch(session: Session, path: str, batch: str, *, field: str, printed: str, options: "JsonObject") -> None:
    """Send a batch and print one result a line; failed items leave an empty line and make the command fail."""
    from client.batch import batch_items, failed_items, results_text

    content = session.inputs.source(batch if batch == "-" else f"@{batch}")
    clean = (lambda text: clean_base64(text.encode(), what="batch item")) if field == "plaintext" else str.strip
    body = {"batch_input": [options | item for item in batch_items(content, field=field, clean=clean)]}
    answer = session.client().request("POST", path, body=body, partial=True)
    show(session, answer, lambda given: results_text(given.data, printed))
    failures = failed_items(answer.data)
    for number, sentence in failures:
        click.echo(f"Error: item {number}: {sentence}", err=True)
    if failures or answer.status >= 400:
        raise click.exceptions.Exit(1)

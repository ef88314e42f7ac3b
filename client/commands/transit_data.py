"""What the commands that send data to a transit engine share: options, single values, batches."""

import base64
import sys
from typing import TYPE_CHECKING

import click

from client.errors import LocalError, NoAnswerError
from client.inputs import clean_base64
from client.output import show
from client.session import Session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

MAX_MESSAGE = 24 * 1000 * 1000  # bytes that fit as base64 into the 32 MiB that the appliance takes, with the rest

mount_option = click.option("--mount", default="transit", metavar="PATH", help="Where the engine is mounted [transit].")
associated_data_option = click.option(
    "--associated-data", metavar="BASE64|@FILE|-", help="Bound to the ciphertext: the same is needed to decrypt."
)
context_option = click.option(
    "--context", metavar="BASE64|@FILE|-", help="What the key is derived from, of a key made with --derived."
)
version_option = click.option(
    "--key-version", type=click.IntRange(min=1), help="Use this version; the latest, if not given."
)
input_option = click.option("--input", "source", metavar="BASE64|@FILE|-", help="The data in base64; - is stdin.")
raw_option = click.option("--raw", is_flag=True, help="The data is plain bytes: encode it here.")
out_option = click.option("--out", metavar="FILE", help="Write it to this file, mode 0600, and not to the terminal.")
force_option = click.option("--force", is_flag=True, help="Replace the file of --out if it is there.")
hash_option = click.option(
    "--hash", "hash_algorithm", metavar="NAME", help="sha2-256 (if not given), sha2-384, sha2-512, sha3-256…"
)


def engine_path(mount: str, *parts: str | int | None) -> str:
    """A path below the mount; parts that are empty are left out."""
    return "/".join(str(part) for part in (mount.strip("/"), *parts) if part)


def given(**members: object) -> "JsonObject":
    """A body of the members that were given: what is left out is for the appliance to decide."""
    return {name: value for name, value in members.items() if value is not None and value is not False}


def common_members(
    session: Session, *, key_version: int | None = None, associated_data: str | None = None, context: str | None = None
) -> "JsonObject":
    """What single values and all items of a batch have in common."""
    members = given(key_version=key_version)
    if associated_data is not None:
        members["associated_data"] = session.inputs.base64(associated_data, what="associated data")
    if context is not None:
        members["context"] = session.inputs.base64(context, what="context")
    return members


def check_one_of(single: str | None, batch: str | None, option: str) -> None:
    """One input or a batch."""
    if (single is None) == (batch is None):
        raise click.UsageError(f"give {option} for one value (- is standard input) or --batch for many")


def check_exactly_one(**options: object) -> None:
    """One of several ways to say the same."""
    if sum(value is not None for value in options.values()) != 1:
        names = [f"--{name.replace('_', '-')}" for name in options]
        raise click.UsageError(f"give one of {', '.join(names[:-1])} and {names[-1]}")


def data_of(session: Session, source: str, *, raw: bool, what: str = "input") -> str:
    """Base64 of the data: given so, or encoded here."""
    return encoded(session.inputs.source(source)) if raw else session.inputs.base64(source, what=what)


def encoded(content: bytes) -> str:
    """Base64."""
    return base64.b64encode(content).decode("ascii")


def client_without_wrapping(session: Session, why: str) -> "Client":
    """The client, where an answer that is wrapped would be of no use."""
    client = session.client()
    if client.wrap_ttl:
        raise click.UsageError(f"--wrap-ttl (MIMIR_WRAP_TTL) does not go with {why}, which needs the answer itself")
    return client


def member(answer: "Answer", name: str) -> str:
    """A text member of `data` that must be there, safe for a terminal."""
    return printable(text_member(answer, name))


def text_member(answer: "Answer", name: str) -> str:
    """A text member of `data` that must be there, as it came."""
    value = answer.data.get(name)
    if not isinstance(value, str):
        raise NoAnswerError(f"the answer holds no {name}: is this path served by a transit engine? See `-o json`")
    return value


def printable_lines(text: str) -> str:
    """Text of several lines, such as PEM, safe for a terminal."""
    return "\n".join(printable(line) for line in text.strip().splitlines())


def decoded(text: str, *, what: str = "plaintext") -> bytes:
    """The bytes of a base64 member."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise NoAnswerError(f"the {what} in the answer is not base64: `-o json` shows it as it came") from exc


def warn_on_a_terminal(what: str) -> None:
    """A secret has just been shown to whoever sees this screen."""
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo(f"WARNING: {what} stands in this terminal and its history: write it to a file with --out", err=True)


def run_batch(
    session: Session, path: str, batch: str, *, field: str, printed: str, options: "JsonObject", **members: object
) -> None:
    """Send a batch and print one result a line; failed items leave an empty line and make the command fail.

    `options` go into every item, `members` stand beside the batch.
    """
    from client.batch import batch_items, failed_items, results_text

    clean = clean_item if field in {"plaintext", "input"} else _stripped
    items = batch_items(session.inputs.file(batch), field=field, clean=clean)
    body = given(**members) | {"batch_input": [options | item for item in items]}
    answer = session.client().request("POST", path, body=body, partial=True)
    show(session, answer, lambda found: results_text(found.data, printed))
    failures = [] if answer.body.get("wrap_info") else failed_items(answer.data)
    for number, sentence in failures:
        click.echo(f"Error: item {number}: {sentence}", err=True)
    if failures or answer.status >= 400:
        raise click.exceptions.Exit(1)


def clean_item(text: str, position: int) -> str:
    """Base64 of one item."""
    try:
        return clean_base64(text.encode(), what="item")
    except LocalError as exc:
        raise LocalError(f"item {position} of the batch is not base64") from exc


def _stripped(text: str, _position: int) -> str:
    return text.strip()

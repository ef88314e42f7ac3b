"""What the commands share that make a CA: whose key, which names, how long."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from client.output import show
from client.output_file import PRIVATE, PUBLIC, check_free, write_whole
from client.pki_options import pem_lines, plain_client
from client.table import key_values, sorted_items
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject
    from client.session import Session

KEY_TYPES = ("ec", "rsa", "ed25519", "ml-dsa")
_WHERE = ("internal", "exported", "existing", "kms")
_CA_OPTIONS = (
    click.option("--common-name", metavar="NAME", help="The CA's name."),
    click.option(
        "--type",
        "where",
        type=click.Choice(_WHERE),
        default="internal",
        show_default=True,
        help="internal: the key is made in the HSM; exported: it is shown once; existing: --key-ref names it.",
    ),
    click.option("--key-type", type=click.Choice(KEY_TYPES), help="The kind of its key [ec]."),
    click.option("--key-bits", type=click.IntRange(min=1), metavar="N", help="256, 384, 521; 2048, 3072, 4096; 44…"),
    click.option("--key-ref", metavar="REF", help="Of --type existing: the key (name or id)."),
    click.option("--key-name", metavar="NAME", help="What the key will be called."),
)
_OUT = (
    click.option("--out", metavar="FILE", help="Write what is printed to this file."),
    click.option("--force", is_flag=True, help="Replace the file of --out if it is there."),
)


def ca_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Name, kind and place of the key, and where the result goes."""
    for option in reversed((*_CA_OPTIONS, *_OUT)):
        function = option(function)
    return function


def out_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the result goes."""
    for option in reversed(_OUT):
        function = option(function)
    return function


def with_defaults(members: "JsonObject", where: str) -> "JsonObject":
    """An elliptic curve unless something else is asked for: Vault's own choice is RSA, which signs 20 times slower."""
    if where == "existing" or "key_type" in members:
        return members
    return members | {"key_type": "ec"}


def ask(
    session: "Session", path: str, body: "JsonObject", *, printed: tuple[str, ...], out: str | None, force: bool
) -> None:
    """POST, and show what came: certificates and CSRs in PEM below a table of the rest, or into a file."""
    if out is None:
        if force:
            raise click.UsageError("--force goes with --out")
        answer = session.client().request("POST", path, body=body)
        show(session, answer, lambda found: table_and_pem(found, printed))
        return
    client = plain_client(session, "--out")
    check_free(out, force=force)
    answer = client.request("POST", path, body=body)
    text = pem_lines(answer, *printed)
    has_key = "private_key" in printed and bool(answer.data.get("private_key"))
    content = f"{text}\n".encode()
    write_whole(check_free(out, force=force), content, force=force, mode=PRIVATE if has_key else PUBLIC)
    show(session, answer, lambda found: f"{_rest(found)}\n\nWritten to {printable(out)}.")


def table_and_pem(answer: "Answer", printed: tuple[str, ...]) -> str:
    """The short members as a table, the long ones below it."""
    return "\n\n".join(part for part in (_rest(answer), pem_lines(answer, *printed)) if part)


def _rest(answer: "Answer") -> str:
    """All but what is PEM."""
    rows = [
        (name, _readable(name, value)) for name, value in sorted_items(answer.data) if "-----BEGIN" not in str(value)
    ]
    return key_values(rows) if rows else ""


def _readable(name: str, value: object) -> object:
    """The Unix time at which a certificate ends as people write it; everything else as it is."""
    if name != "expiration" or not isinstance(value, int):
        return value
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return value

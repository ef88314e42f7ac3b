"""`mimir transit datakey|random`: keys and bytes made by the appliance."""

from typing import TYPE_CHECKING

import click

from client.commands.transit_data import (
    associated_data_option,
    common_members,
    context_option,
    decoded,
    engine_path,
    given,
    member,
    mount_option,
    text_member,
    version_option,
    warn_on_a_terminal,
)
from client.framework import command
from client.output import show, write_exact
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import Answer


@command(
    "datakey",
    examples=(
        "mimir transit datakey wrapped customer-data",
        "mimir transit datakey plaintext customer-data --bits 256 -o json",
        "mimir transit datakey plaintext customer-data --field plaintext",
    ),
)
@click.argument("form", type=click.Choice(("plaintext", "wrapped")))
@click.argument("key")
@click.option("--bits", type=click.Choice(("128", "256", "512")), help="Its size [256].")
@version_option
@associated_data_option
@context_option
@mount_option
@pass_session
def datakey(
    session: Session,
    *,
    form: str,
    key: str,
    bits: str | None,
    key_version: int | None,
    associated_data: str | None,
    context: str | None,
    mount: str,
) -> None:
    """Make a data key, encrypted under KEY: keep it beside what it encrypts.

    `wrapped` gives the encrypted form alone, which `mimir transit decrypt` opens for those who may. `plaintext` gives
    the data key in clear (base64), too. For files, `mimir transit encrypt --file` does all of it.
    """
    body = common_members(session, key_version=key_version, associated_data=associated_data, context=context)
    body |= given(bits=int(bits) if bits else None)
    answer = session.client().request("POST", engine_path(mount, "datakey", form, key), body=body)
    show(session, answer, _data_key_text)
    if form == "plaintext" and not answer.body.get("wrap_info"):
        warn_on_a_terminal("a data key")


def _data_key_text(answer: "Answer") -> str:
    if "plaintext" not in answer.data:
        return member(answer, "ciphertext")
    return key_values((name, member(answer, name)) for name in ("plaintext", "ciphertext"))


@command(
    "random",
    examples=(
        "mimir transit random",
        "mimir transit random --bytes 16 --encoding hex",
        "mimir transit random --bytes 512 --encoding raw > seed",
    ),
)
@click.option("--bytes", "count", type=click.IntRange(min=1), help="How many bytes [32].")
@click.option("--encoding", type=click.Choice(("base64", "hex", "raw")), default="base64", help="How to print them.")
@click.option(
    "--source", metavar="NAME", help="platform or seal: the HSM's generator [platform]; all: the system's mixed in."
)
@mount_option
@pass_session
def random(session: Session, *, count: int | None, encoding: str, source: str | None, mount: str) -> None:
    """Print random bytes from the HSM's generator."""
    if encoding == "raw" and (session.format != "table" or session.field):
        raise click.UsageError("--encoding raw prints the bytes alone: leave -o and --field out")
    asked = "hex" if encoding == "hex" else "base64"
    body = given(bytes=count, format=asked)
    answer = session.client().request("POST", engine_path(mount, "random", source), body=body)
    if encoding == "raw" and not answer.body.get("wrap_info"):
        write_exact(decoded(text_member(answer, "random_bytes"), what="random bytes"), newline=False)
    else:
        show(session, answer, lambda found: member(found, "random_bytes"))

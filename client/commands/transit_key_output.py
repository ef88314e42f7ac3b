"""What `mimir transit key …` gives out and a file can hold: keys by version, PEM, backups."""

import json
from typing import TYPE_CHECKING

import click

from client.commands.transit_data import printable_lines, warn_on_a_terminal
from client.errors import NoAnswerError
from client.output import show, show_value
from client.output_file import PRIVATE, PUBLIC, check_free, write_whole
from client.session import Session
from client.table import columns
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client


def checked_client(session: Session, out: str | None, *, force: bool) -> "Client":
    """The client, when there is a place for what is to be written."""
    client = session.client()
    if out is None:
        if force:
            raise click.UsageError("--force goes with --out")
        return client
    if client.wrap_ttl:
        raise click.UsageError("--wrap-ttl (MIMIR_WRAP_TTL) does not go with --out, which needs the answer itself")
    check_free(out, force=force)
    return client


def give_out(
    session: Session, answer: "Answer", text: str, *, out: str | None, force: bool, what: str, secret: bool
) -> None:
    """To a file, mode 0600 if it is a secret, or to standard output, with a warning if people see it there."""
    if out is not None:
        content = f"{text.rstrip()}\n".encode("utf-8", "surrogatepass")
        write_whole(check_free(out, force=force), content, force=force, mode=PRIVATE if secret else PUBLIC)
        value = {"file": out, "bytes": len(content)}
        show_value(session, value, f"Success! The {what} is written to {printable(out)}.")
        return
    show(session, answer, lambda _: printable_lines(text))
    if secret:
        warn_on_a_terminal(f"the {what}")


def versions_of(answer: "Answer") -> dict[str, str]:
    """The texts of `keys`, by version."""
    keys = answer.data.get("keys")
    if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
        raise NoAnswerError("the answer holds no keys: is this path served by a transit engine? See `-o json`")
    return dict(sorted(keys.items(), key=lambda row: int(row[0]) if row[0].isdigit() else 0))


def versions_text(keys: dict[str, str], *, single: bool, to_file: bool) -> str:
    """One version alone; several as a table, with PEM below headings, or for a file as JSON."""
    if single and len(keys) == 1:
        return next(iter(keys.values()))
    if to_file:
        return json.dumps(keys, indent=2)
    if any("\n" in text.strip() for text in keys.values()):
        return "\n\n".join(f"Version {number}\n{text.strip()}" for number, text in keys.items())
    return columns(("Version", "Key"), keys.items())

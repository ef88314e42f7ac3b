"""`mimir transit verify`: an answer that a script reads from the exit code."""

from typing import TYPE_CHECKING, Any

import click

from client.batch import batch_results, failed_items
from client.commands.transit_data import (
    check_exactly_one,
    clean_item,
    client_without_wrapping,
    engine_path,
)
from client.commands.transit_signing import check_sources, signed_data, signing_members, signing_options
from client.errors import CliError, ExitCode, LocalError, NoAnswerError
from client.framework import command
from client.inputs import parse_json
from client.output import show
from client.session import Session, pass_session

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

_MARKS = ("signature", "hmac", "cmac")


@command(
    "verify",
    examples=(
        "mimir transit verify releases --file app.tar.gz --signature @app.tar.gz.sig",
        "mimir transit verify releases --raw --input @message.txt --signature mimir:v1:MEUCIQ... --hash sha2-512",
        "mimir transit verify webhooks --raw --input @body.json --hmac mimir:v1:pz7w...",
        "mimir transit verify releases --batch signed.json",
    ),
)
@click.argument("key")
@signing_options
@click.option("--signature", metavar="SIGNATURE|@FILE|-", help="What sign printed.")
@click.option("--hmac", metavar="HMAC|@FILE|-", help="What hmac printed.")
@click.option("--cmac", metavar="CMAC|@FILE|-", help="What cmac printed.")
@pass_session
def verify(session: Session, /, key: str, **options: Any) -> None:
    """Check a signature, an HMAC or a CMAC; prints Valid or Invalid.

    Exit codes of this command: 0 valid; 1 invalid (of a batch: any of them); 2 it could not be found out, as the
    question is wrong, or refused; 3 no answer; 4 the appliance cannot serve now.
    Give the options that `sign` was given.
    """
    try:
        is_valid = _verify(session, key, options)
    except CliError as exc:
        if exc.exit_code == ExitCode.FAILED:  # which says "invalid" here
            exc.exit_code = ExitCode.USAGE
        raise
    if not is_valid:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _verify(session: Session, key: str, options: "JsonObject") -> bool:
    check_sources(options)
    client = client_without_wrapping(session, "verify")
    path = engine_path(options["mount"], "verify", key)
    members = signing_members(session, options)
    if options["batch"] is not None:
        if any(options[mark] is not None for mark in _MARKS):
            raise click.UsageError("in a batch each item has its own signature, hmac or cmac")
        context = {"context": members.pop("context")} if "context" in members else {}
        items = [context | item for item in batch_to_verify(session.inputs.file(options["batch"]))]
        answer = client.request("POST", path, body=members | {"batch_input": items}, partial=True)
        show(session, answer, _batch_text)
        return _check_batch(answer)
    check_exactly_one(**{mark: options[mark] for mark in _MARKS})
    [mark] = [mark for mark in _MARKS if options[mark] is not None]
    if mark != "signature" and options["file"] is not None:
        raise click.UsageError(f"--file is hashed here, and {mark.upper()}s are made of the data: use --input @FILE")
    members = _for_mac(members) if mark != "signature" else members
    body = members | {mark: session.inputs.text(options[mark], what=mark)} | signed_data(session, key, options)
    answer = client.request("POST", path, body=body)
    is_valid = _validity(answer.data)
    show(session, answer, lambda _: "Valid" if is_valid else "Invalid")
    return is_valid


def _for_mac(members: "JsonObject") -> "JsonObject":
    """Vault takes the hash of an HMAC as hash_algorithm of verify, too; the rest is about signatures."""
    return {name: value for name, value in members.items() if name in {"hash_algorithm", "context"}}


def batch_to_verify(content: bytes) -> "list[JsonObject]":
    """Items that have `input` and one of signature, hmac, cmac."""
    listed = parse_json(content, name="the batch")
    if not isinstance(listed, list) or not listed:
        raise LocalError('the batch is no JSON list: write it as [{"input": "…", "signature": "…"}]')
    items: list[JsonObject] = []
    for position, item in enumerate(listed, start=1):
        marks = [mark for mark in _MARKS if isinstance(item, dict) and isinstance(item.get(mark), str)]
        if len(marks) != 1 or not isinstance(item.get("input"), str):
            raise LocalError(
                f"item {position} of the batch is no object with a text 'input' and one of {', '.join(_MARKS)}"
            )
        items.append(item | {"input": clean_item(item["input"], position)})
    return items


def _validity(data: "JsonObject") -> bool:
    valid = data.get("valid")
    if not isinstance(valid, bool):
        raise NoAnswerError("the answer holds no valid: is this path served by a transit engine? See `-o json`")
    return valid


def _batch_text(answer: "Answer") -> str:
    return "\n".join(_word(result) for result in batch_results(answer.data))


def _word(result: "JsonObject") -> str:
    return "" if result.get("error") else "Valid" if _validity(result) else "Invalid"


def _check_batch(answer: "Answer") -> bool:
    """Whether all are valid. Items that could not be looked at make it an error, not a verdict."""
    failures = failed_items(answer.data)
    for number, sentence in failures:
        click.echo(f"Error: item {number}: {sentence}", err=True)
    if failures or answer.status >= 400:
        raise LocalError(f"{len(failures)} item(s) of the batch could not be verified")
    return all(_validity(result) for result in batch_results(answer.data))

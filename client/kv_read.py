"""Reading one version of a secret, and the sentence for a version that has no data any more."""

from typing import TYPE_CHECKING

import click

from client.errors import CliError, NoAnswerError, RefusedError
from client.kv_output import NOT_KV, check_block
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject
    from client.kv_path import KvPath


def read_version(
    client: "Client", found: "KvPath", *, version: int | None = None, stage: str | None = None
) -> "Answer":
    """The answer, also of a version without data, which comes with status 404; RefusedError if there is no secret."""
    query = {"version": str(version)} if version else {"stage": stage} if stage else {}
    try:
        return client.request("GET", found.api("data"), query=query, partial=True)
    except RefusedError as exc:
        raise with_hint(exc, found) from exc


def with_hint(exc: RefusedError, found: "KvPath") -> CliError:
    """The refusal; who wrote `data/` into the path is told that it belongs there in the API alone."""
    part, slash, rest = found.name.partition("/")
    if found.version == 2 and slash and part in {"data", "metadata"}:
        exc.args = (f"{exc.sentence}. `mimir kv` adds {part}/ itself: did you mean {printable(found.mount + rest)}?",)
    return exc


def values_of(answer: "Answer", found: "KvPath") -> "JsonObject":
    """The values of a version; RefusedError when they were deleted or destroyed."""
    if found.version == 1:
        return answer.data
    values, block = answer.data.get("data"), check_block(answer.data.get("metadata"))
    if values is None or answer.status >= 400:
        raise gone(found, block)
    if not isinstance(values, dict):
        raise NoAnswerError(NOT_KV)
    return values


def gone(found: "KvPath", block: "JsonObject") -> RefusedError:
    """Why a version has no data, and how to get it back, if there is a way."""
    number = block.get("version")
    what = f"{found.shown}: version {number}"
    if block.get("destroyed"):
        return RefusedError(f"{what} is destroyed: its values are gone for good")
    if block.get("deletion_time"):
        when = printable(str(block["deletion_time"]))
        return RefusedError(
            f"{what} was deleted at {when}: undelete it with `mimir kv undelete {found.shown} --versions {number}`"
        )
    return RefusedError(f"{what} is disabled: enable it with `mimir kv enable {found.shown} --versions {number}`")


def check_choice(version: int | None, stage: str | None) -> None:
    """A version is chosen by number or by label."""
    if version is not None and stage is not None:
        raise click.UsageError("--version and --stage both choose a version: give one of them")

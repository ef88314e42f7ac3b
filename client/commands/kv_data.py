"""`mimir kv get|put|patch|rollback`: the values of a secret."""

from typing import TYPE_CHECKING

import click

from client.errors import LocalError, RefusedError
from client.kv_options import client_with_reason, kv_command, mount_option, reason_option
from client.kv_output import section, sections, value_table, version_table, written_text
from client.kv_path import KvPath, check_versioned, find_secret, find_versioned
from client.kv_read import check_choice, read_version, values_of, with_hint
from client.output import serialised, show, show_value, write_line
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

_DATA = "[KEY=VALUE|KEY=@FILE|KEY=-|@FILE|-]..."
cas_option = click.option("--cas", type=click.IntRange(min=0), help="Only if this version is current; 0: none is.")


@kv_command(
    "get",
    examples=(
        "mimir kv get secret/app",
        "mimir kv get secret/app --field password",
        "mimir kv get -mount=secret app --version 2",
        "mimir kv get secret/app --stage pending -o json",
    ),
)
@click.argument("path")
@mount_option
@click.option("--version", type=click.IntRange(min=1), help="This version; the current one, if not given.")
@click.option("--stage", metavar="NAME", help="The version with this label: current, previous, pending, or your own.")
@pass_session
def get(session: Session, path: str, mount: str | None, version: int | None, stage: str | None) -> None:
    """Show the values of a secret. --field NAME prints one of them, byte for byte."""
    check_choice(version, stage)
    client = session.client()
    found = find_secret(client, path, mount)
    if version or stage:
        check_versioned(found)
    answer = read_version(client, found, version=version, stage=stage)
    if isinstance(answer.body.get("wrap_info"), dict):
        return show(session, answer, lambda _: "")
    if session.format != "table" and not session.field and answer.status >= 400:
        write_line(serialised(answer.body, session.format))  # what is left of the version
    values = values_of(answer, found)
    if session.field:
        return show_value(session, {"data": values}, "")
    return show(session, answer, lambda given: _secret_text(given, found, values))


def _secret_text(answer: "Answer", found: KvPath, values: "JsonObject") -> str:
    if found.version == 1:
        return section("Data", value_table(values))
    return sections(
        section("Secret Path", printable(found.api("data"))),
        section("Metadata", version_table(answer.data["metadata"])),
        section("Data", value_table(values)),
    )


@kv_command(
    "put",
    examples=(
        "mimir kv put secret/app password=@password.txt user=web",
        'printf %s "$PASSWORD" | mimir kv put secret/app password=-',
        "mimir kv put secret/app @app.json --cas 3 --reason 'rotated after CHG-1042'",
        "mimir kv put secret/app password=@new.txt --stage pending",
    ),
)
@click.argument("path")
@click.argument("data", nargs=-1, required=True, metavar=_DATA)
@mount_option
@cas_option
@click.option("--stage", metavar="NAME", help="Label the version so, and leave the current one as it is: pending.")
@reason_option
@pass_session
def put(
    session: Session,
    *,
    path: str,
    data: tuple[str, ...],
    mount: str | None,
    cas: int | None,
    stage: str | None,
    reason: str | None,
) -> None:
    r"""Store a new version of a secret; it replaces all values of the one before.

    A value given as @FILE is read from the file and as - from standard input, which keeps secrets off the command
    line; \@ begins a value with an @. An argument @FILE or - alone is a JSON object, whose numbers keep their digits.
    """
    client = client_with_reason(session, reason)
    values = session.inputs.pairs(data)
    found = find_secret(client, path, mount)
    if found.version == 1:
        _check_plain(found, cas=cas, stage=stage, reason=reason)
        answer = client.write(found.api("data"), values)
    else:
        answer = store(client, found, values, cas=cas, stage=stage)
    show(session, answer, lambda given: written_text(found, given))


def _check_plain(found: KvPath, **options: object) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise LocalError(
            f"{', '.join(given)} cannot be used: {printable(found.mount)} is a kv engine of version 1, which keeps no "
            f"versions; `mimir kv enable-versioning {printable(found.mount)}` turns it into version 2"
        )


def store(client: "Client", found: KvPath, values: "JsonObject", *, cas: int | None, stage: str | None) -> "Answer":
    """Add a version."""
    return client.request("POST", found.api("data"), body=_body(values, cas=cas, stage=stage))


def _body(values: "JsonObject", *, cas: int | None, stage: str | None = None) -> "JsonObject":
    options = {name: value for name, value in (("cas", cas), ("stage", stage)) if value is not None}
    return {"data": values, "options": options} if options else {"data": values}


@kv_command(
    "patch",
    examples=(
        "mimir kv patch secret/app password=@password.txt",
        "mimir kv patch secret/app --remove-data old_password",
        "mimir kv patch -mount=secret -cas=2 app @changes.json",
    ),
)
@click.argument("path")
@click.argument("data", nargs=-1, metavar=_DATA)
@mount_option
@cas_option
@click.option("--remove-data", "removed", multiple=True, metavar="KEY", help="Take this value away; may repeat.")
@reason_option
@pass_session
def patch(
    session: Session,
    *,
    path: str,
    data: tuple[str, ...],
    mount: str | None,
    cas: int | None,
    removed: tuple[str, ...],
    reason: str | None,
) -> None:
    """Store a new version that differs in the named values alone (a JSON merge patch)."""
    if not data and not removed:
        raise click.UsageError("there is nothing to change: give key=value, or --remove-data KEY")
    client = client_with_reason(session, reason)
    values = session.inputs.pairs(data)
    if twice := sorted(values.keys() & set(removed)):
        raise click.UsageError(f"{', '.join(map(printable, twice))} cannot be both set and removed")
    found = find_versioned(client, path, mount)
    try:
        answer = client.merge(found.api("data"), _body({**values, **dict.fromkeys(removed)}, cas=cas))
    except RefusedError as exc:
        raise with_hint(exc, found) from exc
    show(session, answer, lambda given: written_text(found, given))


@kv_command(
    "rollback", examples=("mimir kv rollback secret/app --version 2", "mimir kv rollback -version=2 secret/app")
)
@click.argument("path")
@mount_option
@click.option("--version", type=click.IntRange(min=1), required=True, help="The version whose values are wanted back.")
@reason_option
@pass_session
def rollback(session: Session, path: str, mount: str | None, version: int, reason: str | None) -> None:
    """Store the values of an older version again, as a new one. Refused when another writer comes between."""
    client = client_with_reason(session, reason)
    if client.wrap_ttl:
        raise click.UsageError("--wrap-ttl (MIMIR_WRAP_TTL) does not go with rollback, which needs the answers itself")
    found = find_versioned(client, path, mount)
    values = values_of(read_version(client, found, version=version), found)
    current = read_version(client, found).data["metadata"]["version"]
    show(session, store(client, found, values, cas=current, stage=None), lambda given: written_text(found, given))

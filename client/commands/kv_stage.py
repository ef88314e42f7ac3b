"""`mimir kv stage get|set|remove` and `mimir kv promote`: labels on versions."""

from typing import TYPE_CHECKING

import click

from client.errors import LocalError, NoAnswerError
from client.framework import group
from client.kv_options import client_with_reason, kv_command, mount_option, reason_option
from client.kv_path import KvPath, find_versioned
from client.output import show
from client.session import Session, pass_session
from client.table import columns
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

stage = group(
    "stage",
    summary="Labels on versions: current, previous, pending, and your own.",
    lazy={"get": "client.commands.kv_stage:get", "set": "client.commands.kv_stage:set_"}
    | {"remove": "client.commands.kv_stage:remove"},
    examples=("mimir kv stage get secret/app", "mimir kv stage set secret/app blue --version 4"),
)


@kv_command("get", examples=("mimir kv stage get secret/app", "mimir kv stage get secret/app -o json"))
@click.argument("path")
@mount_option
@pass_session
def get(session: Session, path: str, mount: str | None) -> None:
    """Show which version has which label."""
    client = session.client()
    found = find_versioned(client, path, mount)
    show(session, client.read(found.api("stages")), lambda given: columns(("Stage", "Version"), _stages(given).items()))


def _stages(answer: "Answer") -> "JsonObject":
    stages = answer.data.get("stages")
    if not isinstance(stages, dict):
        raise NoAnswerError("the answer holds no stages: `-o json` shows what it holds")
    return stages


@kv_command(
    "set",
    examples=("mimir kv stage set secret/app current --version 3", "mimir kv stage set secret/app blue --version 4"),
)
@click.argument("path")
@click.argument("name", metavar="STAGE")
@mount_option
@click.option("--version", type=click.IntRange(min=1), required=True, help="The version to label.")
@click.option("--cas", type=click.IntRange(min=0), help="Only if this version has the label; 0: none has.")
@reason_option
@pass_session
def set_(
    session: Session, *, path: str, name: str, mount: str | None, version: int, cas: int | None, reason: str | None
) -> None:
    """Move a label to a version. With `current`, the version that had it becomes `previous`."""
    client = client_with_reason(session, reason)
    found = find_versioned(client, path, mount)
    answer = _set(client, found, name, version, cas=cas)
    show(session, answer, lambda _: f"Success! {printable(name)} of {found.shown} is version {version}.")


def _set(client: "Client", found: KvPath, name: str, version: int, *, cas: int | None) -> "Answer":
    body: JsonObject = {"stage": name, "version": version}
    return client.request("POST", found.api("stages"), body=body if cas is None else body | {"cas": cas})


@kv_command("remove", examples=("mimir kv stage remove secret/app blue",))
@click.argument("path")
@click.argument("name", metavar="STAGE")
@mount_option
@reason_option
@pass_session
def remove(session: Session, path: str, name: str, mount: str | None, reason: str | None) -> None:
    """Take a label away; its version stays."""
    client = client_with_reason(session, reason)
    found = find_versioned(client, path, mount)
    answer = client.delete(found.api("stages"), {"stage": name})
    show(session, answer, lambda _: f"Success! {found.shown} has no {printable(name)}.")


@kv_command(
    "promote", examples=("mimir kv promote secret/app", "mimir kv promote secret/app --stage blue --reason CHG-1042")
)
@click.argument("path")
@mount_option
@click.option("--stage", "name", default="pending", show_default=True, metavar="NAME", help="The label it has now.")
@reason_option
@pass_session
def promote(session: Session, path: str, mount: str | None, name: str, reason: str | None) -> None:
    """Make the pending version the current one. Refused when another version became current meanwhile."""
    client = client_with_reason(session, reason)
    if client.wrap_ttl:
        raise click.UsageError("--wrap-ttl (MIMIR_WRAP_TTL) does not go with promote, which needs the answer itself")
    found = find_versioned(client, path, mount)
    stages = _stages(client.read(found.api("stages")))
    version = stages.get(name)
    if not isinstance(version, int):
        raise LocalError(
            f"{found.shown} has no version that is {printable(name)}: "
            f"`mimir kv put {found.shown} --stage {printable(name)} …` makes one"
        )
    answer = _set(client, found, "current", version, cas=stages.get("current", 0))
    show(session, answer, lambda _: f"Success! Version {version} of {found.shown} is current.")

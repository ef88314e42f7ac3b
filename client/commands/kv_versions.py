"""`mimir kv delete|undelete|destroy|enable|disable`: versions, taken away and brought back."""

from typing import TYPE_CHECKING

import click

from client.kv_options import (
    client_with_reason,
    kv_command,
    mount_option,
    numbers,
    reason_option,
    versions_option,
)
from client.kv_path import check_versioned, find_secret, find_versioned
from client.output import show
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import JsonObject


@kv_command("delete", examples=("mimir kv delete secret/app", "mimir kv delete secret/app --versions 1,2"))
@click.argument("path")
@mount_option
@versions_option("These versions; the current one, if not given.", required=False)
@reason_option
@pass_session
def delete(session: Session, path: str, mount: str | None, versions: tuple[list[int], ...], reason: str | None) -> None:
    """Delete the current version, or the named ones. `undelete` brings them back; version 1 engines delete for good."""
    client = client_with_reason(session, reason)
    found = find_secret(client, path, mount)
    if versions:
        check_versioned(found)
        answer = client.request("POST", found.api("delete"), body={"versions": numbers(versions)})
    else:
        answer = client.delete(found.api("data"))
    show(session, answer, lambda _: f"Success! Data deleted (if it existed) at: {printable(found.api('data'))}")


def _change(
    session: Session,
    path: str,
    mount: str | None,
    *,
    versions: list[int],
    verb: str,
    state: str = "",
    reason: str | None,
) -> None:
    client = client_with_reason(session, reason)
    found = find_versioned(client, path, mount)
    body: JsonObject = {"versions": versions}
    if state:
        body["state"] = state
    answer = client.request("POST", found.api("states" if state else verb), body=body)
    show(session, answer, lambda _: f"Success! {_named(versions)} of {found.shown} {_DONE[verb]} (if it existed).")


_DONE = {"undelete": "is back", "destroy": "is destroyed", "enable": "is enabled", "disable": "is disabled"}


def _named(versions: list[int]) -> str:
    return ("Version " if len(versions) == 1 else "Each of the versions ") + ", ".join(map(str, versions))


@kv_command(
    "undelete", examples=("mimir kv undelete secret/app --versions 2", "mimir kv undelete -versions=2,3 secret/app")
)
@click.argument("path")
@mount_option
@versions_option("Versions to bring back.")
@reason_option
@pass_session
def undelete(
    session: Session, path: str, mount: str | None, versions: tuple[list[int], ...], reason: str | None
) -> None:
    """Bring deleted versions back."""
    _change(session, path, mount, versions=numbers(versions), verb="undelete", reason=reason)


@kv_command("destroy", examples=("mimir kv destroy secret/app --versions 1,2",))
@click.argument("path")
@mount_option
@versions_option("Versions whose values are to be gone.")
@reason_option
@pass_session
def destroy(
    session: Session, path: str, mount: str | None, versions: tuple[list[int], ...], reason: str | None
) -> None:
    """Destroy the values of versions, for good."""
    _change(session, path, mount, versions=numbers(versions), verb="destroy", reason=reason)


@kv_command("enable", examples=("mimir kv enable secret/app --versions 2",))
@click.argument("path")
@mount_option
@versions_option("Versions to be readable again.")
@reason_option
@pass_session
def enable(session: Session, path: str, mount: str | None, versions: tuple[list[int], ...], reason: str | None) -> None:
    """Let versions that were disabled be read again."""
    _change(session, path, mount, versions=numbers(versions), verb="enable", state="enabled", reason=reason)


@kv_command("disable", examples=("mimir kv disable secret/app --versions 2 --reason 'is it in use?'",))
@click.argument("path")
@mount_option
@versions_option("Versions that are not to be read.")
@reason_option
@pass_session
def disable(
    session: Session, path: str, mount: str | None, versions: tuple[list[int], ...], reason: str | None
) -> None:
    """Refuse reads of versions, for as long as they are disabled; their values are kept."""
    _change(session, path, mount, versions=numbers(versions), verb="disable", state="disabled", reason=reason)

"""`mimir auth …`: enable, list, tune, move and disable login methods, and log in with one."""

from typing import TYPE_CHECKING, Any

import click

from client.framework import command, group
from client.output import show, show_value
from client.session import Session, pass_session
from client.table import columns, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.api import Answer, JsonObject

auth = group(
    "auth",
    summary="Manage login methods, and log in with one.",
    lazy={
        "enable": "client.commands.auth:enable",
        "disable": "client.commands.auth:disable",
        "list": "client.commands.auth:list_",
        "tune": "client.commands.auth:tune",
        "move": "client.commands.auth:move",
        "login": "client.commands.login:auth_login",
        "help": "client.commands.auth:help_",
    },
    examples=(
        "mimir auth enable approle",
        "mimir auth tune approle --token-type batch --max-lease-ttl 1h",
        "mimir auth login --method userpass username=bob",
    ),
)

_TOKEN_TYPES = ("default-service", "default-batch", "service", "batch")
_VISIBILITIES = ("hidden", "unauth")


def _settings(function: "Callable[..., Any]") -> "Callable[..., Any]":
    """Options of enable and tune."""
    for option in reversed(
        (
            click.option("--description", metavar="TEXT", help="What it is for."),
            click.option("--default-lease-ttl", metavar="TIME", help="How long its tokens live, as 1h."),
            click.option("--max-lease-ttl", metavar="TIME", help="How long renewals can keep them alive."),
            click.option("--token-type", type=click.Choice(_TOKEN_TYPES), help="What kind of tokens it gives."),
            click.option(
                "--listing-visibility", type=click.Choice(_VISIBILITIES), help="Whether it is shown without a token."
            ),
        )
    ):
        function = option(function)
    return function


def _config(given: dict[str, Any]) -> "JsonObject":
    return {name: value for name, value in given.items() if value is not None and name != "description"}


def _place(path: str) -> str:
    """Below auth/, which may be written too."""
    return path.strip("/").removeprefix("auth/")


@command(
    "enable",
    examples=(
        "mimir auth enable approle",
        "mimir auth enable userpass --path people --description 'on call' --max-lease-ttl 8h",
        "mimir auth enable approle --path machines --token-type batch",
    ),
)
@click.argument("type_", metavar="TYPE")
@click.option("--path", metavar="PATH", help="Where it is mounted below auth/; its type, if not given.")
@_settings
@pass_session
def enable(session: Session, /, type_: str, path: str | None, **given: Any) -> None:
    """Mount the login method TYPE."""
    if path is not None and not _place(path):
        raise click.UsageError("--path is empty")
    where = _place(path or type_)
    body: JsonObject = {"type": type_}
    if given["description"] is not None:
        body["description"] = given["description"]
    if config := _config(given):
        body["config"] = config
    answer = session.client().request("POST", f"sys/auth/{where}", body=body)
    show(session, answer, lambda _: f"Success! The login method {type_} is enabled at {where}/.")


@command("disable", examples=("mimir auth disable people",))
@click.argument("path")
@pass_session
def disable(session: Session, path: str) -> None:
    """Unmount a login method. All it holds is gone, and the tokens that it gave are revoked."""
    where = _place(path)
    answer = session.client().delete(f"sys/auth/{where}")
    show(session, answer, lambda _: f"Success! The login method at {where}/ is disabled, if it existed.")


@command("list", examples=("mimir auth list", "mimir auth list -o json"))
@pass_session
def list_(session: Session) -> None:
    """List the mounted login methods."""
    show(session, session.client().read("sys/auth"), methods_table)


def methods_table(answer: "Answer") -> str:
    """Path, type, accessor, kind of token, TTLs and description of each, in the order of their paths."""
    rows = []
    for path, mount in sorted(answer.data.items()):
        if isinstance(mount, dict):
            config = mount.get("config") or {}
            ttls = [duration(config.get(name)) if config.get(name) else "system" for name in _TTLS]
            row = (mount.get("type"), mount.get("accessor"), config.get("token_type") or "", *ttls)
            rows.append((path, *row, mount.get("description") or ""))
    return columns(("Path", "Type", "Accessor", "Token type", "Default TTL", "Max TTL", "Description"), rows)


_TTLS = ("default_lease_ttl", "max_lease_ttl")


@command(
    "tune",
    examples=(
        "mimir auth tune people --default-lease-ttl 1h --max-lease-ttl 8h",
        "mimir auth tune approle --token-type batch",
    ),
)
@click.argument("path")
@_settings
@pass_session
def tune(session: Session, /, path: str, **given: Any) -> None:
    """Change settings of a login method; what is not given stays."""
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise click.UsageError("there is nothing to change: give one of the options")
    where = _place(path)
    answer = session.client().request("POST", f"sys/auth/{where}/tune", body=body)
    show(session, answer, lambda _: f"Success! The login method at {where}/ is tuned.")


@command("move", examples=("mimir auth move people staff",))
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@pass_session
def move(session: Session, source: str, target: str) -> None:
    """Move a login method with all it holds. Tokens that it gave are revoked."""
    old, new = _place(source), _place(target)
    answer = session.client().request("POST", "sys/remount", body={"from": f"auth/{old}", "to": f"auth/{new}"})

    def told(given: "Answer") -> str:
        migration = given.data.get("migration_id")
        look = f" `mimir read sys/remount/status/{migration}` tells when it is done." if migration else ""
        return f"Success! The login method at {old}/ is being moved to {new}/.{look}"

    show(session, answer, told)


@command("help", examples=("mimir auth help --method approle", "mimir auth help people"))
@click.argument("path", required=False, default="")
@click.option("--method", default="", metavar="NAME", help="Tell what `mimir login` needs for this method.")
@pass_session
def help_(session: Session, path: str, method: str) -> None:
    """Tell what a login method serves at PATH, or with --method what `mimir login` needs for it."""
    if bool(path) == bool(method):
        raise click.UsageError("give a PATH, or --method NAME")
    if method:
        from client.commands.auth_credentials import METHOD_HELP

        text = METHOD_HELP.get(method, f"mimir login --method {method} [--role ROLE] [KEY=VALUE|KEY=@FILE|KEY=-]...")
        show_value(session, {"help": text}, text)
        return
    from client.commands.generic import help_text

    answer = session.client().read(f"auth/{_place(path)}", {"help": "1"})
    show(session, answer, help_text)

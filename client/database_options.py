"""What the commands about databases share: paths, members of a body, statements, passwords, and how they are shown."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from client.errors import LocalError
from client.framework import MimirCommand
from client.inputs import utf8
from client.kv_options import KvCommand
from client.pki_options import body_of, name_part
from client.table import duration

if TYPE_CHECKING:
    from client.api import JsonObject
    from client.session import Session

mount_option = click.option("--mount", metavar="PATH", help="Where the engine is mounted [database].")
members_argument = click.argument("members", nargs=-1, metavar="[KEY=VALUE|KEY=@FILE|@FILE.json|-]...")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")

# what stands between the mount and a name: what that is, and whose commands are for it
_KINDS = {
    "config": ("connection", "mimir secrets config"),
    "roles": ("role", "mimir secrets role"),
    "static-roles": ("static role", "mimir dynamic static-role"),
    "creds": ("role's credentials", "mimir dynamic creds"),
    "static-creds": ("static role's credentials", "mimir dynamic static-creds"),
}
_SECRETS = frozenset({"password", "private_key", "tls_private_key", "tls_certificate_key"})
_TIMES = ("ttl", "_ttl", "_period", "_window", "_duration", "_interval")
_MOMENTS = frozenset({"last_root_rotation", "last_rotation", "next_rotation", "rotated_at", "at"})


def database_command(name: str, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], MimirCommand]:
    """Declare a command that takes -mount=PATH, too, as Vault's client does."""
    return click.command(name, cls=KvCommand, examples=examples)


def below_mount(mount: str | None, *parts: str) -> str:
    """A path below the mount, whose last part is the name that was given, if one was."""
    where = "database" if mount is None else mount.strip("/")
    if not where:
        raise click.UsageError("--mount is empty")
    return "/".join([where, *parts])


def item_path(text: str, kind: str) -> str:
    """The full path of an item: `database/config/orders-db`, also from `database/orders-db`."""
    parts = _parts(text)
    what, command = _KINDS[kind]
    written = f"write the path as database/{kind}/NAME"
    if len(parts) > 2 and parts[-2] in _KINDS:
        if parts[-2] != kind:
            other, theirs = _KINDS[parts[-2]]
            raise click.UsageError(f"{text!r} is a {other}, not a {what}: see `{theirs} --help`, or {written}")
        return "/".join(parts)
    if len(parts) < 2 or parts[-1] in _KINDS or (len(parts) == 2 and parts[0] in _KINDS):
        missing = "a name" if len(parts) > 1 and parts[-1] in _KINDS else "the mount"
        raise click.UsageError(f"{text!r} is no path of a {what}, it lacks {missing}: {written} (`{command} list`)")
    return "/".join([*parts[:-1], kind, parts[-1]])


def folder_path(text: str, kind: str) -> str:
    """The path of a list: `database/config`, also from `database`."""
    parts = _parts(text)
    if len(parts) > 1 and parts[-1] in _KINDS:
        if parts[-1] != kind:
            raise click.UsageError(
                f"{text!r} holds no {_KINDS[kind][0]}s: write database/{kind}, or see `{_KINDS[parts[-1]][1]} --help`"
            )
        return "/".join(parts)
    return "/".join([*parts, kind])


def _parts(text: str) -> list[str]:
    return [part for part in text.strip().lstrip("/").removeprefix("v1/").split("/") if part]


def path_of(text: str, kind: str, mount: str | None) -> str:
    """The path of an item that is named below the mount, or by its whole path."""
    if "/" not in text:
        return below_mount(mount, kind, name_part(text, _KINDS[kind][0]))
    if mount is not None:
        raise click.UsageError(f"{text!r} is a whole path: give it, or --mount and a name")
    return item_path(text, kind)


def database_body(session: "Session", members: Sequence[str], **given: object) -> "JsonObject":
    """Options that were given and KEY=VALUE; a password is not taken from the command line."""
    for member in members:
        name, equals, value = member.partition("=")
        if equals and name in _SECRETS:
            check_not_literal(value, name=f"{name}=")
    body = body_of(session, members, **given)
    password = body.get("password")
    if isinstance(password, str):  # files end in a line break that is no part of what they hold
        body["password"] = password.removesuffix("\n").removesuffix("\r")
    return body


def check_not_literal(value: str, *, name: str) -> None:
    """Raise for a secret that stands on the command line itself."""
    if value and value != "-" and not value.startswith("@"):
        raise click.UsageError(
            f"a secret on the command line is seen by every user of this machine: write {name}@FILE, or {name}- for "
            "standard input"
        )


def statements(session: "Session", given: Sequence[str]) -> list[str] | None:
    """Statements of an option that may repeat, each written out, in a @FILE or on standard input; None: not given."""
    return [utf8(session.inputs.source(text), what="file of statements") for text in given] if given else None


def words(given: Sequence[str]) -> list[str] | None:
    """A list of words from an option that may repeat and whose values may hold commas; None: not given."""
    return [word for text in given for word in (part.strip() for part in text.split(",")) if word] if given else None


def policy_member(name: str | None) -> "JsonObject | None":
    """How a role says which password policy it has."""
    return None if name is None else {"password_policy": name}


def has_placeholder(url: str, name: str) -> bool:
    """Whether a connection URL has a place for it: {{name}}."""
    return re.search(rf"\{{\{{\s*{name}\s*\}}\}}", url) is not None


def is_at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask at a terminal; a script is taken at its word. Raises LocalError for a no."""
    if not yes and is_at_terminal() and not click.confirm(question, err=True):
        raise LocalError("nothing was changed")


def member_rows(data: "JsonObject") -> list[tuple[str, object]]:
    """Members by name for a table of two columns: lists a line an item, times and durations as people write them."""
    rows: list[tuple[str, object]] = []
    for name, value in sorted(data.items()):
        if isinstance(value, dict):
            rows += [(f"{name}.{inner}", of_inner) for inner, of_inner in sorted(value.items())]
        elif name.endswith("statements") and isinstance(value, list):
            rows += _lines(name, value)
        else:
            rows.append((name, shown(name, value)))
    return rows


def _lines(name: str, values: Sequence[object]) -> Iterable[tuple[str, object]]:
    """A row for each, of which the first has the name: statements hold commas themselves."""
    return zip([name, *([""] * (len(values) - 1))], values or [None], strict=True)


def shown(name: str, value: object) -> object:
    """One member as people read it."""
    if value == "":
        return None
    if name in _MOMENTS or name.startswith("last_"):
        return moment(value)
    return duration(value) if name.endswith(_TIMES) else value


def lifetimes(role: "JsonObject") -> dict[str, object]:
    """How long accounts of a role live: an hour, at most a day, where the role says nothing (0 on the wire)."""
    first, longest = role.get("default_ttl"), role.get("max_ttl")
    if not isinstance(first, int) or not isinstance(longest, int):
        return {"default_ttl": first, "max_ttl": longest}
    most = longest or max(86400, first)
    return {
        "default_ttl": _or_default(first, min(first or 3600, most)),
        "max_ttl": _or_default(longest, most),
    }


def _or_default(said: int, meant: int) -> str:
    return f"{duration(meant)}{'' if said else ' (default)'}"


def moment(value: object) -> object:
    """Epoch seconds as RFC 3339; 0 is never, and what is no number is left as it is."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if value else None
    except (ValueError, OverflowError, OSError):
        return value
